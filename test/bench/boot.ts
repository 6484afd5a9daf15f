import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Lab } from '@bringup/core';
import { initrd, readyKernel } from '../fixtures/linux.ts';
import {
  openLab,
  registerMachines,
  startLocalMachines,
  startRemoteMachines,
  type Machines,
} from '../fixtures/machines.ts';
import { alternate, printTable, timed, type Bench } from './bench.ts';

/** What the init of the lab's `shell` initrd prompts with. */
const prompt = '/ # ';
const vm = { memoryMb: 128, commandLine: 'console=ttyS0 panic=-1', accelerator: 'tcg' } as const;

/** Deploy, boot and verify a kernel that is built already, against QEMU started by hand. */
export const bench: Bench = {
  name: 'boot',
  describe: 'deploy + boot + verify of a built kernel, against a bare QEMU boot to the same prompt',

  async run() {
    await using local = await prepare(await startLocalMachines());
    await using remote = await prepare(await startRemoteMachines());
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-'));
    try {
      const kernel = join(folder, 'kernel');
      const ramdisk = join(folder, 'initrd');
      await writeFile(kernel, await readyKernel(local.lab));
      await writeFile(ramdisk, await initrd('shell'));
      const ms = await alternate({
        bare: () => timed(() => bareBoot(kernel, ramdisk)),
        local: () => local.boot(),
        libvirt: () => remote.boot(),
      });
      const row = (name: string, figure: number): [string, number, number] => [name, figure, figure / ms.bare];
      printTable(
        ['to the prompt', 'ms', 'times bare'],
        [row('bare QEMU', ms.bare), row('local', ms.local), row('libvirt over SSH', ms.libvirt)],
      );
      return { overhead_vs_bare: ms.local / ms.bare, libvirt_overhead_vs_bare: ms.libvirt / ms.bare };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/** A lab with one host and a stored kernel; `boot` deploys it once and gives the time that took. */
async function prepare(machines: Machines): Promise<AsyncDisposable & { readonly lab: Lab; boot(): Promise<number> }> {
  const lab = await openLab(machines.settings);
  const { server } = await registerMachines(lab, machines);
  const tree = join(machines.folder, 'kernel-tree');
  await rm(tree, { recursive: true, force: true });
  await mkdir(tree);
  await writeFile(join(tree, 'bzImage'), await readyKernel(lab));
  const { id: buildId } = await lab.builds.submitBuild({
    sourceRepository: tree,
    targetArchitecture: 'x86_64',
    serverId: server.id,
    minStorageGb: 0,
    buildConfig: { recipe: 'script', script: ':', outputs: [{ type: 'kernel_image', path: 'bzImage' }] },
  });
  const build = await lab.builds.waitForBuild(buildId);
  if (build.status !== 'completed') throw new Error(`the kernel could not be stored: ${build.errorMessage ?? ''}`);
  const ramdisk = await lab.artifacts.storeArtifact(
    { type: 'initrd', filename: 'initrd', architecture: 'x86_64' },
    once(await initrd('shell')),
  );
  return {
    lab,
    async boot() {
      let deploymentId = '';
      const took = await timed(async () => {
        const { id } = await lab.deployments.deployToQemu({
          artifacts: { buildId },
          extraArtifactIds: [ramdisk.id],
          vm,
          boot: { successPatterns: [prompt] },
        });
        const deployment = await lab.deployments.waitForDeployment(id);
        if (!deployment.bootVerified) throw new Error(`the boot was not verified: ${deployment.errorMessage ?? ''}`);
        deploymentId = id;
      });
      await lab.deployments.releaseDeployment(deploymentId);
      return took;
    },
    async [Symbol.asyncDispose]() {
      await lab[Symbol.asyncDispose]();
      await machines[Symbol.asyncDispose]();
    },
  };
}

/** Boots as a person would by hand, until the prompt shows. */
async function bareBoot(kernel: string, ramdisk: string): Promise<void> {
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-accel',
        'tcg',
        '-m',
        String(vm.memoryMb),
        '-display',
        'none',
        '-nodefaults',
        '-no-reboot',
        '-serial',
        'stdio',
      ],
      ...['-kernel', kernel, '-initrd', ramdisk, '-append', vm.commandLine],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = new Promise<void>((resolve) => qemu.once('close', () => resolve()));
  let tail = '';
  for await (const chunk of qemu.stdout) {
    tail = (tail + String(chunk)).slice(-4096);
    if (tail.includes(prompt)) break;
  }
  qemu.kill('SIGKILL');
  await ended;
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
