import { execFile } from 'node:child_process';
import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bspFolder, commitFolder } from '../../examples/quickstart/src/sources.ts';
import { textOf } from '../fixtures/looking.ts';
import { leftovers, registerMachines, type Machines } from '../fixtures/machines.ts';
import { bspPipeline } from '../fixtures/sources.ts';
import { buildLog, buildScript, type Scene } from './scene.ts';

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
  };
}

/** A repository with the image of the quickstart's BSP in it, so that a build takes no time. */
async function prebuilt(folder: string): Promise<{ readonly repository: string; readonly commitHash: string }> {
  const built = await mkdtemp(join(folder, 'bsp-'));
  await cp(bspFolder, built, { recursive: true, filter: (path) => !path.startsWith(join(bspFolder, 'build')) });
  await promisify(execFile)('make', [], { cwd: built });
  const tree = await mkdtemp(join(folder, 'prebuilt-'));
  await cp(join(built, 'build/bringup-bsp.elf'), join(tree, 'bringup-bsp.elf'));
  await writeFile(join(tree, 'README'), 'An image that was built before.\n');
  return commitFolder(tree, `${tree}.git`);
}
