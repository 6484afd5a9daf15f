import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lab, Pipeline, PipelineRequest } from '@bringup/core';
import { runCommand } from './commands.ts';
import { buildInitrd, linuxConfigFragment, prepareLinuxSource, type PrepareOptions } from './linux.ts';
import { isGitUrl, type QuickstartOptions } from './options.ts';
import { bspFolder, checkLinuxSource, commitFolder, isRepository } from './sources.ts';

/** What is to be done, settled down to the commit. */
export interface Plan {
  /** What is built, for a person. */
  readonly title: string;
  /** Names the pipeline; differs when the source, the options or the initrd do. */
  readonly name: string;
  readonly request: PipelineRequest;
  /** Path of the initrd to boot with. */
  readonly initrd?: string;
}

type Request = Omit<PipelineRequest, 'name' | 'targetArchitecture' | 'environmentType'>;

/** Prepares the source. @throws Error when there is none. */
export async function makePlan(options: QuickstartOptions, prepare: PrepareOptions): Promise<Plan> {
  await mkdir(options.state, { recursive: true });
  return options.what === 'bsp' ? bspPlan(options) : linuxPlan(options, prepare);
}

async function bspPlan({ state }: QuickstartOptions): Promise<Plan> {
  const { repository, commitHash } = await commitFolder(bspFolder, join(state, 'bsp.git'));
  return {
    title: `the example BSP at ${commitHash.slice(0, 12)}`,
    ...named({
      sourceRepository: repository,
      commitHash,
      buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'build/*.elf' }] },
      buildRequirements: { minMemoryMb: 256, minStorageGb: 1 },
      environmentConfig: {
        vm: { memoryMb: 128 },
        boot: { successPatterns: ['boot complete'], timeoutMs: 60_000, silenceMs: 20_000 },
      },
      tests: { from: 'console', timeoutMs: 60_000 },
    }),
  };
}

async function linuxPlan(options: QuickstartOptions, prepare: PrepareOptions): Promise<Plan> {
  const source = await linuxSource(options, prepare);
  const initrd = join(options.state, 'initrd.cpio');
  await buildInitrd(initrd);
  const request: Request = {
    sourceRepository: source.repository,
    ...(source.commitHash !== undefined && { commitHash: source.commitHash }),
    buildConfig: {
      recipe: 'kernel',
      kernelConfig: 'tinyconfig',
      configFragment: await linuxConfigFragment(),
      enableModules: false,
      buildDtbs: false,
    },
    buildRequirements: { minMemoryMb: 1024, minStorageGb: 4 },
    environmentConfig: { boot: { successPatterns: ['boot complete'] } },
    tests: { from: 'console', timeoutMs: 5 * 60_000 },
  };
  const at = source.commitHash === undefined ? '' : ` at ${source.commitHash.slice(0, 12)}`;
  return { title: `Linux from ${source.repository}${at}`, initrd, ...named(request, await readFile(initrd)) };
}

/** Gives the request a name that tells it from every other one. */
function named(request: Request, initrd: Uint8Array = Buffer.alloc(0)): Pick<Plan, 'name' | 'request'> {
  const digest = createHash('sha256').update(JSON.stringify(request)).update(initrd).digest('hex').slice(0, 12);
  const name = `quickstart ${digest}`;
  return { name, request: { ...request, name, targetArchitecture: 'x86_64', environmentType: 'qemu' } };
}

async function linuxSource(
  { source, branch, state }: QuickstartOptions,
  prepare: PrepareOptions,
): Promise<{ readonly repository: string; readonly commitHash?: string }> {
  if (source === undefined) return { repository: await prepareLinuxSource(join(state, 'source'), prepare) };
  const isGit = isGitUrl(source) || (await isRepository(source));
  if (!isGitUrl(source)) await checkLinuxSource(source, isGit ? (branch ?? 'HEAD') : undefined);
  if (isGit) return { repository: source, commitHash: await newestCommit(source, branch, prepare.signal) };
  if (branch !== undefined) throw new Error(`${source} is a plain source tree and has no branches; leave --branch out`);
  return { repository: source };
}

/** Asked now, so that an interrupted run is continued only if the branch has not moved meanwhile. */
async function newestCommit(repository: string, branch = 'HEAD', signal?: AbortSignal): Promise<string> {
  // The peeled commit of an annotated tag comes after the tag itself.
  const said = await runCommand(['git', 'ls-remote', '--', repository, branch, `${branch}^{}`], {
    env: { GIT_TERMINAL_PROMPT: '0' },
    ...(signal !== undefined && { signal }),
  });
  const commitHash = said.split('\n').at(-1)?.split('\t')[0];
  if (commitHash === undefined || !/^[0-9a-f]{40,64}$/.test(commitHash))
    throw new Error(`${repository} has no branch or tag '${branch}'`);
  return commitHash;
}

/** Queues the pipeline of a plan; its initrd becomes an artifact first. */
export async function startPipeline(lab: Lab, plan: Plan, signal: AbortSignal): Promise<Pipeline> {
  const { initrd, request } = plan;
  if (initrd === undefined) return lab.pipelines.createPipeline(request);
  const file = { type: 'initrd', filename: 'initrd.cpio', architecture: request.targetArchitecture } as const;
  const { id } = await lab.artifacts.storeArtifact(file, createReadStream(initrd), { signal });
  const environmentConfig = { ...request.environmentConfig, extraArtifactIds: [id] };
  return lab.pipelines.createPipeline({ ...request, environmentConfig });
}
