import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { memoryLab, type MemoryLab, type MemoryLabOptions } from '@bringup/core/testing';
import { kernelBuild, kernelUrl, repositories } from '../support/requests.ts';

const minuteMs = 60_000;
const mine = { type: 'other', filename: 'file', architecture: 'x86_64' } as const;

async function labWith(options: Partial<MemoryLabOptions> = {}): Promise<MemoryLab> {
  let made = 0;
  const lab = await memoryLab({
    repositories,
    build: ({ output }) => output('image', `image ${(made += 1)}`.padEnd(1_000)),
    ...options,
  });
  await lab.addServer();
  return lab;
}

async function build(lab: MemoryLab, branch = 'main'): Promise<string> {
  const id = await submit(lab, branch);
  expect((await lab.clock.runUntil(lab.builds.waitForBuild(id))).status).toBe('completed');
  await lab.clock.advance(1_000);
  return id;
}

async function submit(lab: MemoryLab, branch = 'main'): Promise<string> {
  lab.repositories.set(kernelUrl, {
    branches: {
      ...lab.repositories.get(kernelUrl)?.branches,
      [branch]: createHash('sha1').update(branch).digest('hex'),
    },
  });
  const { id } = await lab.builds.submitBuild({
    ...kernelBuild,
    branch,
    buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'image' }] },
  });
  return id;
}

/** The same lab later, without having lived through every second of it. */
async function later(lab: MemoryLab, ms: number): Promise<MemoryLab> {
  await lab[Symbol.asyncDispose]();
  await lab.clock.advance(ms);
  return lab.reopen();
}

async function* bytes(text: string): AsyncIterable<Uint8Array> {
  yield Buffer.from(text);
}

async function stored(lab: MemoryLab): Promise<string[]> {
  return (await Array.fromAsync(lab.storage.list())).map(({ sha256 }) => sha256);
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

async function removedBy(
  lab: MemoryLab,
  policy: Parameters<MemoryLab['artifacts']['cleanupOldArtifacts']>[0],
): Promise<string[]> {
  return (await lab.artifacts.cleanupOldArtifacts(policy)).builds.map(({ buildId }) => buildId);
}

describe('cleaning up', () => {
  it('R4.4: removes what is too old, keeps the newest of each branch, and what is pinned or tagged', async () => {
    await using lab = await labWith();
    const [old, pinned, tagged, newest] = [await build(lab), await build(lab), await build(lab), await build(lab)];
    const otherBranch = await build(lab, 'side');
    await lab.artifacts.pinBuild(pinned);
    await lab.artifacts.tagBuild(tagged, 'v6.1-rc1');
    await lab.clock.advance(2 * minuteMs);
    const policy = { maxAgeMs: minuteMs };
    const plan = await lab.artifacts.cleanupOldArtifacts({ policy, dryRun: true });
    expect(plan.builds.map(({ buildId, reason }) => [buildId, reason])).toEqual([[old, 'age']]);
    expect(await lab.artifacts.getArtifactsByBuild(old)).not.toEqual([]);
    const report = await lab.artifacts.cleanupOldArtifacts({ policy });
    expect(report).toEqual({ ...plan, dryRun: false });
    expect(report.freedBytes).toBe(1_000);
    expect(await lab.artifacts.getArtifactsByBuild(old)).toEqual([]);
    for (const id of [pinned, tagged, newest, otherBranch]) {
      for (const artifact of await lab.artifacts.getArtifactsByBuild(id)) {
        expect(await lab.artifacts.verifyArtifactIntegrity(artifact.id)).toBe(true);
      }
    }
    // It stays in the history, and says so.
    expect(await lab.builds.getBuildStatus(old)).toMatchObject({
      status: 'completed',
      artifactsRemovedAt: lab.clock.now(),
    });
    await lab.artifacts.unpinBuild(pinned);
    await lab.artifacts.untagBuild(tagged, 'v6.1-rc1');
    expect(await removedBy(lab, { policy })).toEqual([pinned, tagged]);
  });

  it('R4.4: keeps a number of builds, or a number of bytes, the oldest go first', async () => {
    await using lab = await labWith();
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) ids.push(await build(lab));
    expect(await removedBy(lab, { policy: { keepLatest: 4 } })).toEqual(ids.slice(0, 1));
    const { keptBytes } = await lab.artifacts.cleanupOldArtifacts();
    const report = await lab.artifacts.cleanupOldArtifacts({ policy: { maxTotalBytes: keptBytes - 1_500 } });
    expect(report.builds).toMatchObject([
      { buildId: ids[1], reason: 'total-size' },
      { buildId: ids[2], reason: 'total-size' },
    ]);
    expect(report.keptBytes).toBeLessThanOrEqual(keptBytes - 1_500);
    expect(await removedBy(lab, { policy: { maxTotalBytes: 0 } })).toEqual([ids[3]]);
    expect(await removedBy(lab, { policy: { maxTotalBytes: 0, keepLatest: 0 } })).toEqual([ids[4]]);
    expect(await stored(lab)).toEqual([]);
  });

  it('R4.4: never removes what a deployment waits for or a host booted last', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer();
    const made = async (): Promise<string> => {
      const { id } = await lab.builds.submitBuild(kernelBuild);
      await lab.clock.runUntil(lab.builds.waitForBuild(id));
      return id;
    };
    const [waitedFor, booted, unused] = [await made(), await made(), await made()];
    const host = await lab.addHost();
    await lab.hosts.setMaintenanceMode(host.id, true);
    const waiting = await lab.deployments.deployToQemu({ artifacts: { buildId: waitedFor } });
    await lab.clock.settle();
    const policy = { maxAgeMs: 1, keepLatest: 0 };
    await lab.clock.advance(10);
    expect(await removedBy(lab, { policy, dryRun: true })).toEqual([booted, unused]);
    await expect(lab.artifacts.deleteArtifacts(waitedFor, { force: true })).rejects.toMatchObject({
      code: 'conflict',
      details: { reason: 'in use' },
    });
    await lab.deployments.cancelDeployment(waiting.id);
    await lab.clock.runUntil(lab.deployments.waitForDeployment(waiting.id));
    await lab.hosts.setMaintenanceMode(host.id, false);
    for (const id of [waitedFor, booted]) {
      const deployment = await lab.deployments.deployToQemu({ artifacts: { buildId: id } });
      expect(await lab.clock.runUntil(lab.deployments.waitForDeployment(deployment.id))).toMatchObject({
        bootVerified: true,
      });
      await lab.clock.runUntil(lab.deployments.releaseDeployment(deployment.id));
      await lab.clock.advance(1_000);
    }
    expect(await removedBy(lab, { policy })).toEqual([waitedFor, unused]);
    expect(await lab.artifacts.getArtifactsByBuild(booted)).not.toEqual([]);
  });

  it('R4.4: is done by the lab once an hour, by one process, with the policy it was given', async () => {
    const lab = await labWith({ retention: { maxAgeMs: minuteMs } });
    const old = await build(lab);
    await build(lab);
    await lab.clock.advance(2 * limits.artifactWatchMs);
    // Two processes find it due at the same time.
    await using one = await later(lab, limits.artifactCleanupMs);
    await using other = await lab.reopen();
    await one.clock.advance(2 * limits.artifactWatchMs);
    await one.clock.settle();
    expect(await other.artifacts.getArtifactsByBuild(old)).toEqual([]);
    const removals = (await Array.fromAsync(one.events.read())).filter(({ name }) => name === 'artifact:removed');
    expect(removals.map(({ subject }) => subject)).toEqual([old]);
  });

  it('removes bytes that were never recorded, but not before somebody had time to', async () => {
    const lab = await labWith();
    const { sha256: lost } = await lab.storage.put(bytes('nobody’s'));
    expect((await lab.artifacts.cleanupOldArtifacts()).orphans).toBe(0);
    const almost = await later(lab, limits.artifactOrphanMs - minuteMs);
    await almost.artifacts.cleanupOldArtifacts();
    expect(await stored(almost)).toEqual([lost]);
    await using after = await later(almost, minuteMs);
    expect(await after.artifacts.cleanupOldArtifacts()).toMatchObject({ orphans: 1, freedBytes: 10 });
    expect(await stored(after)).toEqual([]);
  });

  it('refuses a policy that is none, one issue per field', async () => {
    await using lab = await memoryLab();
    const policy = { maxAgeMs: -1, keepLatest: 0.5, maxTotalBytes: -1 };
    await expect(lab.artifacts.cleanupOldArtifacts({ policy })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'maxAgeMs' }, { path: 'keepLatest' }, { path: 'maxTotalBytes' }] },
    });
  });
});

describe('bytes that several artifacts share', () => {
  it('stay when the last artifact that has them is deleted while a build counts on them', async () => {
    // The build finds its output stored already and does not send it again; then the other artifact is deleted.
    await using lab = await labWith({ build: ({ output }) => output('image', 'the same') });
    const other = await lab.artifacts.storeArtifact(mine, bytes('the same'));
    const { promise: goOn, resolve } = Promise.withResolvers<void>();
    const stat = lab.storage.stat.bind(lab.storage);
    let deleted = false;
    lab.storage.stat = async (hash, options) => {
      const found = await stat(hash, options);
      if (hash === sha256('the same') && !deleted) {
        deleted = true;
        await lab.artifacts.deleteArtifacts(other.producerId);
        resolve();
      }
      return found;
    };
    const id = await build(lab);
    await goOn;
    const image = (await lab.artifacts.getArtifactsByBuild(id)).find(({ filename }) => filename === 'image');
    expect(image?.checksumSha256).toBe(sha256('the same'));
    expect(await lab.artifacts.verifyArtifactIntegrity(image?.id ?? '')).toBe(true);
  });

  it('are stored anew when they are being removed just as they are stored', async () => {
    await using lab = await labWith({ build: ({ output }) => output('image', 'the same') });
    const other = await lab.artifacts.storeArtifact(mine, bytes('the same'));
    const { promise: removing, resolve: begun } = Promise.withResolvers<void>();
    const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
    const remove = lab.storage.delete.bind(lab.storage);
    lab.storage.delete = async (hash, options) => {
      begun();
      await mayEnd;
      await remove(hash, options);
    };
    const deletion = lab.artifacts.deleteArtifacts(other.producerId);
    await removing;
    const id = await submit(lab);
    await lab.clock.advance(10_000);
    expect((await lab.builds.getBuildStatus(id)).phase).toBe('collecting');
    end();
    await deletion;
    expect((await lab.clock.runUntil(lab.builds.waitForBuild(id))).status).toBe('completed');
    const image = (await lab.artifacts.getArtifactsByBuild(id)).find(({ filename }) => filename === 'image');
    expect(await lab.artifacts.verifyArtifactIntegrity(image?.id ?? '')).toBe(true);
  });
});

describe('damaged bytes', () => {
  it('E-checksum: are told, marked, never served, passed over, and healed by the same bytes', async () => {
    await using lab = await labWith();
    const older = await build(lab);
    const newer = await build(lab);
    const image = (await lab.artifacts.getArtifactsByBuild(newer)).find(({ filename }) => filename === 'image');
    const id = image?.id ?? '';
    lab.storage.corrupt(image?.checksumSha256 ?? '');
    // Whoever reads them first finds out.
    await expect(lab.artifacts.readAll({ id })).rejects.toMatchObject({ code: 'artifact-corrupted' });
    expect(await lab.artifacts.getArtifact(id)).toMatchObject({ corruptedAt: lab.clock.now() });
    const served = lab.artifacts.read({ id }).next();
    await expect(served).rejects.toMatchObject({ code: 'artifact-corrupted', message: expect.stringMatching(/again/) });
    expect((await lab.artifacts.select({ branch: 'main' })).buildId).toBe(older);
    await expect(lab.artifacts.select({ buildId: newer })).rejects.toMatchObject({
      code: 'artifact-corrupted',
      details: { filenames: ['image'], suggestions: [older] },
    });
    await lab.artifacts.storeArtifact(mine, bytes('image 2'.padEnd(1_000)));
    expect((await lab.artifacts.select({ branch: 'main' })).buildId).toBe(newer);
    expect((await lab.artifacts.readAll({ id })).toString()).toBe('image 2'.padEnd(1_000));
    const told = (await Array.fromAsync(lab.events.read())).filter(({ subject }) => subject === id);
    expect(told.map(({ name }) => name)).toEqual(['artifact:stored', 'artifact:corrupted', 'artifact:healed']);
  });

  it('E-checksum: are found by reading a part of the storage each day', async () => {
    const before = await labWith({ scrubBytesPerDay: 10_000_000 });
    const id = await build(before);
    await before.clock.advance(2 * limits.artifactWatchMs);
    await using lab = await later(before, limits.artifactCleanupMs);
    const image = (await lab.artifacts.getArtifactsByBuild(id)).find(({ filename }) => filename === 'image');
    lab.storage.corrupt(image?.checksumSha256 ?? '');
    await lab.clock.advance(2 * limits.artifactWatchMs);
    await lab.clock.settle();
    expect(await lab.artifacts.getArtifact(image?.id ?? '')).toMatchObject({ corruptedAt: expect.any(Number) });
  });
});
