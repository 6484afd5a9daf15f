import { describe, expect, it } from 'vitest';
import { limits, type Alert, type Trouble } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { forgetOldAlerts } from '../../src/alerts/retention.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { AlertService } from '../../src/alerts/service.ts';
import { fakeClock, seededRandom } from '@bringup/core/testing';
import { kernelBuild, kernelPipeline, repositories } from '../support/requests.ts';

const hot: Trouble = { type: 'temperature', severity: 'warning', subject: 'board-1', message: 'board-1 is at 81 °C' };

const eventsOf = async (lab: MemoryLab): Promise<string[]> => {
  const names: string[] = [];
  for await (const { name } of lab.events.read()) if (name.startsWith('alert:')) names.push(name);
  return names;
};

describe('an alert', () => {
  it('is one for as long as the same trouble of the same subject lasts, and counts how often it was noticed', async () => {
    await using lab = await memoryLab();
    const first = await lab.alerts.raise(hot);
    await lab.clock.advance(5_000);
    const again = await lab.alerts.raise({ ...hot, message: 'board-1 is at 83 °C' });
    expect(again).toMatchObject({ id: first.id, count: 2, message: 'board-1 is at 83 °C' });
    expect(again.lastSeenAt - again.raisedAt).toBe(5_000);
    await lab.alerts.raise({ ...hot, subject: 'board-2' });
    await lab.alerts.raise({ ...hot, type: 'connectivity' });
    expect(await lab.alerts.list()).toHaveLength(3);
  });

  it('that was acknowledged is open again when it gets worse, but not when it is noticed again', async () => {
    await using lab = await memoryLab();
    const { id } = await lab.alerts.raise(hot);
    await lab.alerts.acknowledge(id, { by: 'ada' });
    expect(await lab.alerts.raise(hot)).toMatchObject({ state: 'acknowledged', acknowledgedBy: 'ada' });
    expect(await lab.alerts.raise({ ...hot, severity: 'critical' })).toMatchObject({
      id,
      state: 'open',
      severity: 'critical',
    });
    expect(await lab.alerts.raise(hot)).toMatchObject({ severity: 'critical' });
    expect(await eventsOf(lab)).toEqual(['alert:raised', 'alert:acknowledged', 'alert:raised']);
  });

  it('is resolved by a person with a note, and stays so', async () => {
    await using lab = await memoryLab();
    const { id } = await lab.alerts.raise(hot);
    await lab.alerts.resolve(id, { by: 'ada', note: 'a fan was replaced' });
    await lab.alerts.resolve(id, { by: 'bob' });
    await lab.alerts.acknowledge(id, { by: 'bob' });
    expect(await lab.alerts.get(id)).toMatchObject({ state: 'resolved', resolution: 'a fan was replaced' });
    expect((await lab.alerts.raise(hot)).id).not.toBe(id);
  });

  it('that nobody knows is not found, and nonsense is refused field by field', async () => {
    await using lab = await memoryLab();
    await expect(lab.alerts.get('none')).rejects.toHaveProperty('code', 'not-found');
    await expect(lab.alerts.acknowledge('none', { by: 'ada' })).rejects.toHaveProperty('code', 'not-found');
    await expect(lab.alerts.raise({ ...hot, type: 'bad' as 'power', message: '' })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'type' }, { path: 'message' }] },
    });
  });

  it('is found by state, severity, type, subject and time, newest first, page by page', async () => {
    await using lab = await memoryLab();
    const made: Alert[] = [];
    for (const [index, severity] of (['info', 'warning', 'critical', 'warning'] as const).entries()) {
      made.push(await lab.alerts.raise({ ...hot, severity, subject: `board-${index}` }));
      await lab.clock.advance(1_000);
    }
    const [info, warning, critical, last] = made.map(({ id }) => id);
    await lab.alerts.resolve(warning ?? '', { by: 'ada' });
    const ids = async (options: Parameters<typeof lab.alerts.list>[0]): Promise<string[]> =>
      (await lab.alerts.list(options)).map(({ id }) => id);
    expect(await ids({})).toEqual([last, critical, warning, info]);
    expect(await ids({ state: 'resolved' })).toEqual([warning]);
    expect(await ids({ severity: ['info', 'critical'] })).toEqual([critical, info]);
    expect(await ids({ subject: 'board-3', type: 'temperature' })).toEqual([last]);
    expect(await ids({ type: 'power' })).toEqual([]);
    expect(await ids({ since: made[2]?.raisedAt ?? 0 })).toEqual([last, critical]);
    expect(await ids({ limit: 1, before: last ?? '' })).toEqual([critical]);
    expect(await lab.alerts.getStatistics()).toEqual({
      byState: { open: 3, acknowledged: 0, resolved: 1 },
      bySeverity: { info: 1, warning: 1, critical: 1 },
      byType: { temperature: 3 },
      meanResolutionSeconds: 3,
    });
  });

  it('R16.5: is told of in the process as it happens, and can be read again from a cursor', async () => {
    await using lab = await memoryLab();
    const heard: string[] = [];
    using _listening = await lab.events.on('alert:raised', ({ data }) =>
      heard.push(`${data.severity} ${data.subject}`),
    );
    await lab.alerts.raise(hot);
    await lab.clock.advance(0);
    expect(heard).toEqual(['warning board-1']);
    expect(await eventsOf(lab)).toEqual(['alert:raised']);
  });
});

describe('old alerts', () => {
  it('are forgotten once they have been over for long, or when there are too many', async () => {
    const clock = fakeClock();
    const random = seededRandom(3);
    await using store = await Store.open(sqlite(), clock);
    const alerts = new AlertService({ store, clock, random });
    const over = await alerts.raise({ ...hot, subject: 'over' });
    await alerts.resolve(over.id, { by: 'ada' });
    const lasting = await alerts.raise({ ...hot, subject: 'lasting' });
    const failed = await alerts.raise({ ...hot, type: 'build-failed', subject: 'failed' });
    await clock.advance(limits.alertKeepMs - 1);
    await forgetOldAlerts(store, clock.now());
    expect(await alerts.list()).toHaveLength(3);
    await clock.advance(1);
    await forgetOldAlerts(store, clock.now());
    expect((await alerts.list()).map(({ id }) => id)).toEqual([failed.id, lasting.id]);
    expect(await alerts.get(failed.id)).toMatchObject({ state: 'resolved', resolution: 'nobody tried again' });
    expect(await alerts.get(lasting.id)).toMatchObject({ state: 'open' });
  });
});

describe('work that fails', () => {
  it('R16.4: a failed build raises an alert, which the next success of the same branch ends', async () => {
    let broken = true;
    await using lab = await memoryLab({
      repositories,
      build: async ({ log, output }) => {
        await log('main.c:3:1: error: unknown type name\n');
        if (broken) return 2;
        output('arch/x86/boot/bzImage', 'kernel');
        output('.config', 'CONFIG_64BIT=y\n');
        return 0;
      },
    });
    await lab.addServer();
    const build = async (): Promise<string> => {
      const { id } = await lab.builds.submitBuild({ ...kernelBuild, branch: 'main' });
      await lab.clock.runUntil(lab.builds.waitForBuild(id));
      return id;
    };
    await build();
    const second = await build();
    const [alert, ...more] = await lab.alerts.list({ type: 'build-failed' });
    expect(more).toEqual([]);
    expect(alert).toMatchObject({
      severity: 'warning',
      subject: 'https://git.example/linux.git main x86_64',
      count: 2,
      details: { workId: second, code: 'build-failed' },
    });
    expect(alert?.message).toContain('error: unknown type name');
    broken = false;
    const good = await build();
    expect(await lab.alerts.get(alert?.id ?? '')).toMatchObject({
      state: 'resolved',
      resolution: `build ${good} succeeded`,
    });
  });

  it('R16.4, R17.4: a failed pipeline raises one alert that names the stage, and its stages none', async () => {
    await using lab = await memoryLab({ repositories, build: () => Promise.resolve(2) });
    await lab.addServer();
    await lab.addHost();
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    const alerts = await lab.alerts.list();
    expect(alerts.map(({ type }) => type)).toEqual(['pipeline-failed']);
    expect(alerts[0]?.message).toContain('failed: build: ');
    expect(alerts[0]?.details).toMatchObject({ workId: id });
  });

  it('work that was cancelled raises none', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer();
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.builds.cancelBuild(id);
    await lab.clock.runUntil(lab.builds.waitForBuild(id));
    expect(await lab.alerts.list()).toEqual([]);
  });
});
