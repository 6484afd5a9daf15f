import { execFile } from 'node:child_process';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fileArtifactStorage, type Artifact, type BuildJob, type Lab } from '@bringup/core';
import { openLab, registerMachines, startLocalMachines, type Machines } from '../fixtures/machines.ts';
import { tcg } from '../fixtures/sources.ts';

const run = promisify(execFile);
const megabyte = 1024 * 1024;

let machines: Machines;
let lab: Lab;
let source: string;
beforeEach(async () => {
  machines = await startLocalMachines();
  source = join(machines.folder, 'source');
  await mkdir(source);
});
afterEach(async () => {
  await lab?.[Symbol.asyncDispose]();
  await machines?.[Symbol.asyncDispose]();
});

/** Builds an image with a script. */
async function build(script: string): Promise<BuildJob> {
  const { id } = await lab.builds.submitBuild({
    sourceRepository: source,
    targetArchitecture: 'x86_64',
    buildConfig: { recipe: 'script', script, outputs: [{ type: 'kernel_image', path: 'image' }] },
  });
  return lab.builds.waitForBuild(id);
}

async function imageOf({ id }: BuildJob): Promise<Artifact> {
  const artifacts = await lab.artifacts.getArtifactsByBuild(id);
  return artifacts.find(({ filename }) => filename === 'image') ?? expect.fail(`build ${id} has no image`);
}

const alertStates = async (type: 'storage-full' | 'artifact-corrupted'): Promise<string[]> =>
  (await lab.alerts.list({ type })).map(({ state }) => state);

async function eventNames(prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of lab.events.read()) if (name.startsWith(prefix)) names.push(name);
  return names;
}

describe('A lab whose artifacts lie on a file system of 20 MB', () => {
  // Needs root, for a file system that is really full.
  let small: string;
  beforeEach(async () => {
    small = join(machines.folder, 'small');
    await mkdir(small);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', small]);
    lab = await openLab(machines.settings, {
      artifacts: fileArtifactStorage({ path: small }),
      retention: { keepLatest: 1 },
    });
    await lab.buildServers.registerServer(machines.server);
  });
  afterEach(async () => {
    await lab[Symbol.asyncDispose]();
    await run('umount', [small]);
  });

  test('E-store-full: tells that it is full, cleans up by itself, and the build that did not fit goes on', async () => {
    const random = `head -c ${8 * megabyte} /dev/urandom >image`;
    const [first, second] = [await build(random), await build(random)];
    const kept = await imageOf(second);
    const third = await build(`${random}; echo once >>${machines.folder}/built`);
    expect([first, second, third].map(({ status }) => status)).toEqual(['completed', 'completed', 'completed']);
    expect(await eventNames('storage:')).toEqual(['storage:full', 'storage:room']);
    expect(await alertStates('storage-full')).toEqual(['resolved']);
    expect(await lab.artifacts.getArtifactsByBuild(first.id)).toEqual([]);
    expect((await stat(join(machines.folder, 'built'))).size).toBe('once\n'.length);
    for (const artifact of [kept, await imageOf(third)]) {
      expect(await lab.artifacts.verifyArtifactIntegrity(artifact.id)).toBe(true);
    }
    expect(await readdir(join(small, 'tmp'))).toEqual([]);
  });
});

describe('A lab one of whose stored artifacts lost a bit', () => {
  beforeEach(async () => {
    lab = await openLab(machines.settings);
    await registerMachines(lab, machines);
  });

  test('E-checksum: marks it, tells of it and serves it no more, until the same bytes are built again', async () => {
    const always = `head -c ${2 * megabyte} /dev/zero >image`;
    const made = await build(always);
    const image = await imageOf(made);
    await flipBit(image.path ?? expect.fail('it lies nowhere'), megabyte);

    const deploy = async (): Promise<unknown> => {
      const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId: made.id }, vm: tcg });
      return lab.deployments.waitForDeployment(id);
    };
    expect(await deploy()).toMatchObject({ status: 'failed', error: { code: 'artifact-corrupted' } });
    expect((await imageOf(made)).corruptedAt).toBeDefined();
    expect(await alertStates('artifact-corrupted')).toEqual(['open']);
    await expect(lab.artifacts.readAll(image)).rejects.toMatchObject({ code: 'artifact-corrupted' });
    expect(await deploy()).toMatchObject({
      status: 'failed',
      artifacts: [],
      error: { code: 'artifact-corrupted', message: expect.stringContaining('build it again') as string },
    });
    expect(await machines.vms()).toEqual([]);

    const again = await build(always);
    expect(again).toMatchObject({ status: 'completed' });
    expect((await imageOf(again)).checksumSha256).toBe(image.checksumSha256);
    expect(await alertStates('artifact-corrupted')).toEqual(['resolved']);
    expect((await lab.artifacts.readAll(image)).equals(Buffer.alloc(2 * megabyte))).toBe(true);
  });
});

async function flipBit(path: string, at: number): Promise<void> {
  await run('chmod', ['u+w', path]);
  const file = await open(path, 'r+');
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
  await file.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, at);
  await file.close();
}
