import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { memoryLab, type MemoryLab, type MemoryLabOptions } from '@bringup/core/testing';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelBuild, repositories } from '../support/requests.ts';

const request = {
  ...kernelBuild,
  buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'image' }] },
} as const;

async function labWith(options: Partial<MemoryLabOptions> = {}): Promise<MemoryLab> {
  let made = 0;
  const lab = await memoryLab({
    repositories,
    build: ({ output }) => output('image', Buffer.alloc(100_000, (made += 1))),
    ...options,
  });
  await lab.addServer();
  return lab;
}

async function build(lab: MemoryLab): Promise<string> {
  const { id } = await lab.builds.submitBuild(request);
  expect((await lab.clock.runUntil(lab.builds.waitForBuild(id))).status).toBe('completed');
  await lab.clock.advance(1_000);
  return id;
}

async function names(lab: MemoryLab): Promise<string[]> {
  return (await Array.fromAsync(lab.events.read()))
    .map(({ name }) => name)
    .filter((name) => name.startsWith('storage:'));
}

describe('a full artifact storage', () => {
  it('E-store-full: is told, cleaned up, and the build whose output did not fit goes on', async () => {
    await using lab = await labWith({ retention: { keepLatest: 1 } });
    const first = await build(lab);
    const second = await build(lab);
    lab.storage.setCapacity(250_000);
    const third = await build(lab);
    expect(await names(lab)).toEqual(['storage:full', 'storage:room']);
    expect(await lab.artifacts.getArtifactsByBuild(first)).toEqual([]);
    for (const id of [second, third]) expect(await lab.artifacts.getArtifactsByBuild(id)).not.toEqual([]);
    await expectNothingHeld(lab);
  });

  it('E-store-full: makes new builds wait until a person has made room, and compiles nothing twice', async () => {
    let compiled = 0;
    await using lab = await labWith({ build: ({ output }) => output('image', Buffer.alloc(100_000, (compiled += 1))) });
    const kept = await build(lab);
    lab.storage.setCapacity(150_000);
    const full = await lab.builds.submitBuild(request);
    await lab.clock.advance(60_000);
    const late = await lab.builds.submitBuild(request);
    await lab.clock.advance(60_000);
    expect(await lab.artifacts.getStorageFull()).toMatchObject({ neededBytes: 100_000 });
    const told = async (): Promise<string[]> =>
      (await lab.alerts.list({ type: 'storage-full' })).map(({ state }) => state);
    expect(await told()).toEqual(['open']);
    for (const { id } of [full, late]) {
      expect(await lab.builds.getBuildStatus(id)).toMatchObject({ status: 'queued', phase: 'storage-full' });
    }
    expect(compiled).toBe(2);
    await lab.artifacts.deleteArtifacts(kept);
    lab.storage.setCapacity(400_000);
    await lab.clock.advance(limits.artifactWatchMs);
    for (const { id } of [full, late]) {
      expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({ status: 'completed' });
    }
    expect(compiled).toBe(3);
    expect(await lab.artifacts.getStorageFull()).toBeUndefined();
    expect(await told()).toEqual(['resolved']);
    await expectNothingHeld(lab);
  });

  it('E-store-full: holds nothing of a build that is cancelled while it waits', async () => {
    await using lab = await labWith();
    lab.storage.setCapacity(50_000);
    const { id } = await lab.builds.submitBuild(request);
    await lab.clock.advance(60_000);
    await lab.builds.cancelBuild(id);
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({ status: 'cancelled' });
    await expectNothingHeld(lab);
  });

  it('E-store-full: is tried again after a while where nobody can tell what is free, whoever’s clock was wrong', async () => {
    await using lab = await labWith();
    lab.process.jumpClock(3_600_000);
    lab.storage.setCapacity(0);
    const { id } = await lab.builds.submitBuild(request);
    await lab.clock.advance(60_000);
    expect(await lab.builds.getBuildStatus(id)).toMatchObject({ phase: 'storage-full' });
    lab.process.jumpClock(-3_600_000);
    lab.storage.setCapacity(undefined);
    await lab.clock.advance(limits.storageRetryMs + 2 * limits.artifactWatchMs);
    expect(await lab.builds.getBuildStatus(id)).toMatchObject({ status: 'completed' });
  });
});
