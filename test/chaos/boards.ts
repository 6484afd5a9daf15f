import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lab } from '@bringup/core';
import { arm64Files } from '../fixtures/arm64.ts';
import { prebuiltBoardBsp, registerBoards, type Boards } from '../fixtures/boards-lab.ts';
import type { BoardMachine, Restartable } from '../fixtures/board-machine.ts';
import { outputOf } from '../fixtures/looking.ts';
import { processesOf } from '../fixtures/processes.ts';
import type { Outage } from './outages.ts';
import { buildLog, buildScript, type Scene } from './scene.ts';

const commands = [
  { name: 'selftest', argv: ['selftest'] },
  { name: 'kernel', argv: ['sh', '-c', 'uname -r | grep arm64'], results: 'exit-status' },
  { name: 'much to say', argv: ['seq', '1', '2000'], results: 'exit-status' },
] as const;

/** A BSP that is built, flashed to one of two boards, booted by their power, and tested in the shell on their console. */
export async function boardScene(boards: Boards): Promise<Scene> {
  const { settings } = boards;
  const source = await prebuiltBoardBsp(settings.folder);
  const { kernel } = await arm64Files();
  return {
    settings: { on: 'boards', lab: settings },
    buildLog: buildLog(source),
    register: (lab) => registerBoards(lab, settings),
    request: async (marks) => ({
      sourceRepository: source.repository,
      targetArchitecture: 'arm64',
      buildConfig: {
        recipe: 'script',
        script: buildScript('mkdir build; cp "$KERNEL" build/Image; mv initrd build\n'),
        customEnv: { MARKS: marks, KERNEL: kernel },
        outputs: [
          { type: 'kernel_image', path: 'build/Image' },
          { type: 'initrd', path: 'build/initrd' },
        ],
      },
      environmentType: 'physical_board',
      environmentConfig: { boardTypes: ['virt'] },
      tests: { from: 'console-shell', commands, timeoutMs: 120_000 },
    }),
    async faultsOf(lab, id) {
      const testRunId = outputOf(await lab.pipelines.getPipelineStatus(id), 'test');
      const { results } = await lab.testRuns.getTestRun(testRunId);
      const names = results?.tests.map(({ name }) => name).join();
      return names === commands.map(({ name }) => name).join() ? [] : [`its tests were ${names}`];
    },
    leftovers: (lab) => leftOf(lab, boards),
    outages: boards.machines.flatMap(outagesOf),
  };
}

/** Its console server ends, with all connections, and comes back; its PDU starts anew, and its outlets stay as they are. */
function outagesOf({ consoleServer, pdu }: BoardMachine): Outage[] {
  const restart = (name: string, device: Restartable): Outage => ({
    name,
    async strike(lasts) {
      await device.stop();
      await lasts();
      await device.start();
    },
  });
  return [restart('restarts of console servers', consoleServer), restart('restarts of PDUs', pdu)];
}

async function leftOf(lab: Lab, { settings: { folder, network }, machines }: Boards): Promise<readonly string[]> {
  const [builds, running, served, boards, live] = await Promise.all([
    readdir(join(folder, 'server/builds')).catch(() => []),
    processesOf(join(folder, 'server')),
    readdir(join(network.tftp, network.name)),
    lab.boards.getAllBoards(),
    Promise.all(machines.map((machine) => machine.isLive())),
  ]);
  return [
    ...builds.map((build) => `build ${build}`),
    ...running.map(({ pid, command }) => `process ${pid}: ${command}`),
    ...served.filter((file) => file !== 'kernel' && file !== 'initrd').map((file) => `served file ${file}`),
    ...boards.filter(({ status }) => status !== 'available').map(({ name, status }) => `board ${name}, ${status}`),
    ...live.flatMap((isLive, index) => (isLive ? [] : [`outlet of the board ${machines[index]?.access.name}, off`])),
  ];
}
