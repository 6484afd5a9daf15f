import { describe, expect, it } from 'vitest';
import { BringupError, limits, roles, type LabStatus, type Notifier } from '@bringup/core';
import { memoryLab, sqliteError, type MemoryLab, type MemoryLabOptions } from '@bringup/core/testing';
import { kernelBuild, repositories } from '../support/requests.ts';

/** A lab that does everything, with a build server. */
async function fullLab(options: MemoryLabOptions = {}): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, roles, ...options });
  await lab.addServer();
  await lab.clock.advance(2 * limits.healthRescanMs);
  return lab;
}

const wrong = ({ condition, troubles }: LabStatus): unknown => [condition, troubles.map(({ part }) => part)];

describe('the status of a lab', () => {
  it('is ok while all its parts do what they should', async () => {
    await using lab = await fullLab();
    expect(await lab.getStatus()).toEqual({
      condition: 'ok',
      troubles: [],
      checkedAt: lab.clock.now(),
      process: { roles, openedAt: expect.any(Number) },
      store: { reachable: true, latencyMs: 0 },
      work: { running: 0, concurrency: limits.workConcurrency, renewedAt: expect.any(Number), takeovers: 0, queued: 0 },
      health: {
        shardsHeld: limits.healthShards,
        shardsWatched: limits.healthShards,
        shards: limits.healthShards,
        watched: 1,
        late: 0,
      },
      recovery: { overdueMs: 0 },
      events: { lag: 0 },
      waiting: { requests: 0 },
      artifacts: { reachable: true },
      alerts: { open: 0, undelivered: 0 },
    });
  });

  it('fails without its database, and tells the rest all the same', async () => {
    let isDown = false;
    const onStatement = (): void => {
      if (isDown) throw sqliteError(10, 'disk I/O error');
    };
    await using lab = await fullLab({ roles: [], process: { onStatement } });
    isDown = true;
    const status = await lab.getStatus();
    isDown = false;
    expect(wrong(status)).toEqual(['failed', ['store']]);
    expect(status.store).toEqual({ reachable: false, latencyMs: 0, error: 'store-failed' });
    expect(status).toMatchObject({ artifacts: { reachable: true }, work: { running: 0 } });
    expect(status).not.toHaveProperty('waiting');
  });

  it('names work that nobody starts, and what would help', async () => {
    await using lab = await fullLab({ roles: ['health', 'recovery'] });
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(limits.statusQueuedMs);
    expect(wrong(await lab.getStatus())).toEqual(['ok', []]);
    await lab.clock.advance(limits.statusMs);
    const status = await lab.getStatus();
    expect(wrong(status)).toEqual(['degraded', ['work']]);
    expect(status.troubles[0]?.message).toContain(`build ${id}`);
    expect(status.work).toMatchObject({
      queued: 1,
      oldestQueued: { kind: 'build', id, ageMs: limits.statusQueuedMs + limits.statusMs },
    });
  });

  it('counts what it took over from processes that died', async () => {
    await using lab = await fullLab({ build: () => new Promise<never>(() => undefined), roles: [] });
    const other = await lab.join({ name: 'other', roles: ['builds'] });
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(started(lab, id));
    await other.crash();
    await lab.start({ roles: ['builds'] });
    await lab.clock.advance(limits.leaseMs + limits.workPollMs);
    expect((await lab.getStatus()).work).toMatchObject({ running: 1, takeovers: 1 });
  });

  it('fails while the leases of its work are not renewed', async () => {
    let isDown = false;
    const onStatement = (sql: string): void => {
      if (isDown && /lease_until/.test(sql) && /^update/i.test(sql)) throw sqliteError(13, 'database or disk is full');
    };
    await using lab = await fullLab({ build: () => new Promise<never>(() => undefined), process: { onStatement } });
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(started(lab, id));
    isDown = true;
    await lab.clock.advance(limits.statusLeaseAgeMs + 1);
    const status = await lab.getStatus();
    isDown = false;
    expect(status.condition).toBe('failed');
    expect(status.troubles[0]).toMatchObject({ part: 'work', condition: 'failed' });
  });

  it('tells that nobody watches the resources, or puts things right', async () => {
    await using lab = await memoryLab({ roles: ['recovery'] });
    expect(wrong(await lab.getStatus())).toEqual(['ok', []]);
    await lab.addServer();
    await lab.clock.advance(limits.statusMs);
    expect(wrong(await lab.getStatus())).toEqual(['degraded', ['health']]);
    // The first clean-up has been noted as due by then.
    await lab.clock.advance(limits.artifactWatchMs);
    await using looking = await lab.join({ name: 'other', roles: [] });
    await lab.crash();
    await lab.clock.advance(limits.artifactCleanupMs + limits.statusOverdueMs + 1);
    expect(wrong(await looking.getStatus())).toEqual(['degraded', ['health', 'recovery']]);
  });

  it('tells of an artifact storage that is full, or out of reach', async () => {
    await using lab = await fullLab();
    lab.storage.setCapacity(1);
    await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(told(lab, 'storage:full'));
    const full = await lab.getStatus();
    expect(full.troubles.map(({ part }) => part)).toContain('artifacts');
    expect(full.artifacts).toMatchObject({ reachable: true, fullSince: expect.any(Number) });
  });

  it.for<[string, Error]>([
    ['fails', new BringupError('connection-failed', 'the storage is away')],
    ['fails in its own way', new Error('hunter2')],
  ])('is degraded when the artifact storage %s, without repeating what it said', async ([, error]) => {
    await using lab = await fullLab();
    lab.storage.stat = () => Promise.reject(error);
    const status = await lab.getStatus();
    expect(wrong(status)).toEqual(['degraded', ['artifacts']]);
    expect(status.artifacts.reachable).toBe(false);
    expect(JSON.stringify(status)).not.toContain('hunter2');
  });

  it(`waits for an artifact storage that says nothing no longer than ${limits.statusAnswerMs} ms`, async () => {
    await using lab = await fullLab();
    lab.storage.stat = () => new Promise(() => undefined);
    const began = lab.clock.now();
    const status = await lab.clock.runUntil(lab.getStatus());
    expect(status.artifacts).toEqual({ reachable: false, error: 'deadline-exceeded' });
    expect(lab.clock.now() - began).toBe(limits.statusAnswerMs);
  });

  it('counts alerts that could not be delivered', async () => {
    const notifier: Notifier = {
      name: 'pager',
      deliver: () => Promise.reject(new BringupError('delivery-failed', 'no such receiver')),
      [Symbol.asyncDispose]: async () => undefined,
    };
    await using lab = await fullLab({ notifiers: [notifier] });
    await lab.alerts.raise({ type: 'custom', severity: 'warning', subject: '', message: 'look' });
    await lab.clock.runUntil(told(lab, 'notification:failed'));
    const status = await lab.getStatus();
    expect(wrong(status)).toEqual(['degraded', ['alerts']]);
    expect(status.alerts).toEqual({ open: 1, undelivered: 1 });
  });

  it('asks the database and the storage once for all who ask at the same time', async () => {
    await using lab = await fullLab();
    let asked = 0;
    const stat = lab.storage.stat.bind(lab.storage);
    lab.storage.stat = (...args) => {
      asked += 1;
      return stat(...args);
    };
    await Promise.all(Array.from({ length: 20 }, () => lab.getStatus()));
    await lab.getStatus();
    expect(asked).toBe(1);
    await lab.clock.advance(limits.statusMs);
    await lab.getStatus();
    expect(asked).toBe(2);
  });
});

async function started(lab: MemoryLab, id: string): Promise<void> {
  for await (const { name, subject } of lab.events.read({ follow: true })) {
    if (name === 'build:started' && subject === id) return;
  }
}

async function told(lab: MemoryLab, wanted: string): Promise<void> {
  for await (const { name } of lab.events.read({ follow: true })) if (name === wanted) return;
}
