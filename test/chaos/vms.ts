import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Lab } from '@bringup/core';
import { bspFolder, commitFolder } from '../../examples/quickstart/src/sources.ts';
import type { Cable } from '../fixtures/cable.ts';
import { textOf } from '../fixtures/looking.ts';
import { leftovers, registerMachines, type Machines, type RemoteMachines } from '../fixtures/machines.ts';
import { bspPipeline } from '../fixtures/sources.ts';
import type { Outage } from './outages.ts';
import { buildLog, buildScript, type Scene } from './scene.ts';

const run = promisify(execFile);

/** libvirtd crashes as it starts a VM, where it can hurt most, unless it starts none within this time. */
const startWithinMs = 15_000;

/** Results that the self tests of the BSP print. */
const suites = 8;

/** The example BSP, built, booted in a VM, and tested by what it says. */
export async function vmScene(machines: Machines): Promise<Scene> {
  const source = await prebuilt(machines.folder);
  return {
    settings: { on: 'vms', lab: machines.settings },
    buildLog: buildLog(source),
    async register(lab) {
      await registerMachines(lab, machines);
    },
    request: async (marks) =>
      bspPipeline(source, {
        buildConfig: {
          recipe: 'script',
          script: buildScript(),
          customEnv: { MARKS: marks },
          outputs: [{ type: 'kernel_image', path: 'bringup-bsp.elf' }],
        },
      }),
    async faultsOf(lab, id) {
      const console =
        (await textOf(lab.pipelines.getStageLogs(id, 'boot'))) + (await textOf(lab.pipelines.getStageLogs(id, 'test')));
      const results = [...console.matchAll(/^ok (\d+) /gm)].map(([, number]) => Number(number));
      const all = Array.from({ length: suites }, (_, index) => index + 1).join();
      return results.join() === all ? [] : [`its console has the results ${results.join()}`];
    },
    leftovers: () => leftovers(machines),
    outages: [],
  };
}

/**
 * The same over SSH and libvirt, at the end of a cable that tells nobody when it is pulled. Their sshd ends, with all
 * connections, and comes back; their libvirtd crashes and comes back, its VMs go on; the cable is pulled, for less and for
 * more time than it takes to notice.
 */
export async function remoteVmScene(machines: RemoteMachines, cable: Cable): Promise<Scene> {
  const { sshd, libvirtd } = machines;
  const outages: readonly Outage[] = [
    {
      name: 'cuts of the network',
      async strike(lasts) {
        await cable.plug('down');
        await lasts();
        await cable.plug('up');
      },
    },
    {
      name: 'restarts of sshd',
      async strike(lasts) {
        await sshd.stop();
        await lasts();
        await sshd.start();
      },
    },
    {
      name: 'crashes of libvirtd',
      async strike(lasts) {
        await libvirtd.crashInStart(AbortSignal.timeout(startWithinMs)).catch(() => libvirtd.crash());
        await lasts();
        await libvirtd.restart();
      },
    },
  ];
  return { ...(await vmScene(machines)), outages, putRight: (lab) => forgetStarts(lab, machines) };
}

/** Does what a person has to do about VMs whose start libvirtd crashed in the middle of, and does not let go of. */
async function forgetStarts(lab: Lab, { libvirtd, host }: RemoteMachines): Promise<readonly string[]> {
  const stuck = await libvirtd.starting();
  if (stuck.length === 0) return [];
  console.log(`starts cut off: ${stuck.length}`);
  const alerts = await lab.alerts.list({ type: 'left-behind', state: 'open' });
  await libvirtd.forget(stuck);
  for (const vm of stuck) {
    await run('virsh', ['-c', libvirtd.uri, 'undefine', vm]);
    await rm(join(host.workspace, 'vms', vm), { recursive: true });
  }
  const told = new Set(alerts.map(({ details }) => details['vm']));
  return stuck.filter((vm) => !told.has(vm)).map((vm) => `nobody was told of the VM ${vm}`);
}

/** A repository with the image of the quickstart's BSP in it, so that a build takes no time. */
async function prebuilt(folder: string): Promise<{ readonly repository: string; readonly commitHash: string }> {
  const built = await mkdtemp(join(folder, 'bsp-'));
  await cp(bspFolder, built, { recursive: true, filter: (path) => !path.startsWith(join(bspFolder, 'build')) });
  await run('make', [], { cwd: built });
  const tree = await mkdtemp(join(folder, 'prebuilt-'));
  await cp(join(built, 'build/bringup-bsp.elf'), join(tree, 'bringup-bsp.elf'));
  await writeFile(join(tree, 'README'), 'An image that was built before.\n');
  return commitFolder(tree, `${tree}.git`);
}
