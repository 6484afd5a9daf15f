import type { BoardDeploymentRequest, Deployment } from '@bringup/core';
import {
  memoryLab,
  type MemoryBoardOptions,
  type MemoryBoot,
  type MemoryGuest,
  type MemoryLab,
  type MemoryLabOptions,
} from '@bringup/core/testing';
import { kernelBuild, repositories } from './requests.ts';

/** Boots to a login prompt, whatever it was flashed with. */
export const boots = async (guest: MemoryGuest): Promise<void> => {
  guest.say('Linux version 6.1.0\r\nwelcome\r\nlab login: ');
  await guest.idle();
};

/** Boots to a login prompt, a line a second for twenty seconds. */
export const bootsSlowly = async (guest: MemoryGuest): Promise<void> => {
  for (let line = 0; line < 20; line += 1) {
    guest.say(`line ${line}\r\n`);
    await guest.sleep(1_000);
  }
  guest.say('login: ');
  await guest.idle();
};

/** A lab with a board and a finished build. */
export async function labWithBoard(
  guest: MemoryBoot = boots,
  options: MemoryLabOptions & { readonly board?: MemoryBoardOptions } = {},
): Promise<{ lab: MemoryLab; buildId: string; boardId: string }> {
  const { board, ...rest } = options;
  const lab = await memoryLab({ repositories, boardGuest: guest, ...rest });
  await lab.addServer();
  const { id: boardId } = await lab.addBoard(board);
  return { lab, boardId, buildId: await build(lab) };
}

/** Builds the head of the main branch. */
export async function build(lab: MemoryLab): Promise<string> {
  const { id } = await lab.builds.submitBuild(kernelBuild);
  await lab.clock.runUntil(lab.builds.waitForBuild(id));
  return id;
}

/** Deploys to a board and waits for the end of it. */
export async function deployToBoard(
  lab: MemoryLab,
  buildId: string,
  more: Partial<BoardDeploymentRequest> = {},
): Promise<Deployment> {
  const { id } = await lab.deployments.deployToBoard({ artifacts: { buildId }, ...more });
  return lab.clock.runUntil(lab.deployments.waitForDeployment(id));
}

/** The kernel that a build made, as an artifact's id. */
export async function kernelOf(lab: MemoryLab, buildId: string): Promise<string> {
  const kernel = (await lab.artifacts.getArtifactsByBuild(buildId)).find(
    (file) => file.artifactType === 'kernel_image',
  );
  if (kernel === undefined) throw new TypeError(`build ${buildId} has no kernel`);
  return kernel.id;
}
