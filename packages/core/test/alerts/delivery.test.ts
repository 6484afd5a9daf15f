import { describe, expect, it } from 'vitest';
import { limits, silentLogger, type Notifier, type Trouble } from '@bringup/core';
import {
  fakeClock,
  memoryLab,
  memoryNotifier,
  seededRandom,
  sqliteError,
  type MemoryLab,
  type MemoryNotifier,
} from '@bringup/core/testing';
import { NotificationHandler } from '../../src/alerts/delivery-handler.ts';
import { AlertService } from '../../src/alerts/service.ts';
import { tellOfAlerts } from '../../src/alerts/tell.ts';
import { workKinds } from '../../src/model/work.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { WorkEngine } from '../../src/work/engine.ts';
import { repositories, kernelBuild } from '../support/requests.ts';

const hot: Trouble = { type: 'temperature', severity: 'warning', subject: 'board-1', message: 'board-1 is at 81 °C' };
const told = ({ received }: MemoryNotifier): string[] =>
  received.map(({ reason, alert }) => `${reason} ${alert.severity} ${alert.subject}`);

async function labWith(...notifiers: Notifier[]): Promise<MemoryLab> {
  return memoryLab({ repositories, notifiers });
}

describe('notifiers', () => {
  it('R16.5: are told when an alert is raised, gets worse and is over; not when it is only noticed again', async () => {
    const notifier = memoryNotifier();
    await using lab = await labWith(notifier);
    const { id } = await lab.alerts.raise(hot);
    await lab.alerts.raise(hot);
    await lab.alerts.raise({ ...hot, severity: 'critical' });
    await lab.alerts.acknowledge(id, { by: 'ada' });
    await lab.alerts.resolve(id, { by: 'ada' });
    await lab.clock.advance(1_000);
    expect(told(notifier)).toEqual([
      'raised warning board-1',
      'escalated critical board-1',
      'resolved critical board-1',
    ]);
    const deliveries = await lab.alerts.getDeliveries(id);
    expect(deliveries.map(({ reason, state, failures }) => [reason, state, failures])).toEqual([
      ['raised', 'delivered', 0],
      ['escalated', 'delivered', 0],
      ['resolved', 'delivered', 0],
    ]);
    expect(deliveries.map((delivery) => delivery.id)).toEqual(notifier.received.map((notification) => notification.id));
  });

  it('hear only of what is as bad as they ask for', async () => {
    const all = memoryNotifier();
    const critical = memoryNotifier({ name: 'pager', minSeverity: 'critical' });
    await using lab = await labWith(all, critical);
    await lab.alerts.raise(hot);
    await lab.alerts.raise({ ...hot, severity: 'critical' });
    await lab.clock.advance(1_000);
    expect(told(all)).toHaveLength(2);
    expect(told(critical)).toEqual(['escalated critical board-1']);
  });

  it('hear of an alert, and of what becomes of it, though the database was full when they were to be told', async () => {
    let full = true;
    const onStatement = (sql: string): void => {
      if (!full || !sql.startsWith('update "alerts" set "spread_count"')) return;
      full = false;
      throw sqliteError(13, 'database or disk is full');
    };
    const notifier = memoryNotifier();
    await using lab = await memoryLab({ notifiers: [notifier], process: { onStatement } });
    const { id } = await lab.alerts.raise(hot);
    await lab.alerts.resolve(id, { by: 'ada' });
    await lab.clock.advance(1_000);
    expect(full).toBe(false);
    expect(told(notifier)).toEqual(['raised warning board-1', 'resolved warning board-1']);
  });

  it('hear of each alert in order: that it is over not before it was raised', async () => {
    const notifier = memoryNotifier();
    await using lab = await labWith(notifier);
    notifier.fault = 'refusing';
    const { id } = await lab.alerts.raise(hot);
    await lab.clock.advance(1_000);
    await lab.alerts.resolve(id, { by: 'ada' });
    await lab.clock.advance(1_000);
    notifier.fault = 'none';
    await lab.clock.advance(60_000);
    expect(told(notifier)).toEqual(['raised warning board-1', 'resolved warning board-1']);
  });

  it('that fail are tried again with pauses that double, under the same id', async () => {
    const notifier = memoryNotifier();
    await using lab = await labWith(notifier);
    notifier.fault = 'unreachable';
    const { id } = await lab.alerts.raise(hot);
    const tries: number[] = [];
    const begun = lab.clock.now();
    for (let calls = 0; tries.length < 4; await lab.clock.advance(500)) {
      if (notifier.calls > calls) tries.push(Math.round((lab.clock.now() - begun) / 1000));
      ({ calls } = notifier);
    }
    const pauses = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
    expect(pauses.map((pause) => Math.round(pause / 5))).toEqual([1, 2, 4]);
    const [delivery] = await lab.alerts.getDeliveries(id);
    expect(delivery).toMatchObject({ state: 'pending', failures: 4 });
    notifier.fault = 'none';
    await lab.clock.advance(60_000);
    expect(notifier.received.map((notification) => notification.id)).toEqual([delivery?.id]);
    expect((await lab.alerts.getDeliveries(id))[0]?.state).toBe('delivered');
  });

  it('are not tried again before the time they ask for', async () => {
    const notifier = memoryNotifier();
    await using lab = await labWith(notifier);
    notifier.fault = 'refusing';
    notifier.retryAfterMs = 120_000;
    await lab.alerts.raise(hot);
    await lab.clock.advance(119_000);
    expect(notifier.calls).toBe(1);
    await lab.clock.advance(3_000);
    expect(notifier.calls).toBe(2);
  });

  it('are given up at once when trying again can’t help; the alert tells', async () => {
    const closed = memoryNotifier();
    closed.fault = 'closed';
    await using lab = await labWith(closed);
    const { id } = await lab.alerts.raise(hot);
    await lab.clock.advance(20_000);
    expect(closed.calls).toBe(1);
    expect(await lab.alerts.getDeliveries(id)).toMatchObject([
      { notifier: 'memory', state: 'failed', failures: 1, error: { code: 'delivery-failed' } },
    ]);
  });

  it('are given up after so many tries', async () => {
    const clock = fakeClock();
    const random = seededRandom(3);
    const refusing = memoryNotifier({ clock });
    refusing.fault = 'refusing';
    await using store = await Store.open(sqlite(), clock);
    const engine = new WorkEngine({ store, clock, random, logger: silentLogger });
    engine.register(new NotificationHandler({ notifiers: [refusing], random }));
    tellOfAlerts(store, { clock, random });
    await using _started = engine;
    engine.start(workKinds);
    const alerts = new AlertService({ store, clock, random });
    const { id } = await alerts.raise(hot);
    for (let looks = 0; looks < 2 * limits.deliveryAttempts; looks += 1) {
      await clock.advance(limits.workPollMs);
      // As if the pause were over.
      await store.transaction(({ db }) =>
        db.updateTable('work_items').set({ run_after: 0 }).where('state', '=', 'waiting').execute(),
      );
    }
    expect(refusing.calls).toBe(limits.deliveryAttempts);
    expect(await alerts.getDeliveries(id)).toMatchObject([{ state: 'failed', failures: limits.deliveryAttempts }]);
  });

  it('that hang hold up nobody: other notifiers are told, and builds are built', async () => {
    const hanging = memoryNotifier({ name: 'hanging' });
    const good = memoryNotifier({ name: 'good' });
    hanging.fault = 'hanging';
    await using lab = await labWith(hanging, good);
    await lab.addServer();
    for (let board = 0; board < 2 * limits.workConcurrency; board += 1) {
      await lab.alerts.raise({ ...hot, subject: `board-${board}` });
    }
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(10_000);
    expect(good.received).toHaveLength(2 * limits.workConcurrency);
    expect(hanging.calls).toBe(1);
    expect((await lab.builds.getBuildStatus(id)).status).toBe('completed');
  });

  it('are told at least once, whenever the process dies', async () => {
    for (let diesAfterMs = 0; diesAfterMs <= 2_000; diesAfterMs += 250) {
      const notifier = memoryNotifier();
      const lab = await labWith(notifier);
      notifier.fault = diesAfterMs % 500 === 0 ? 'hanging' : 'none';
      await lab.alerts.raise(hot);
      await lab.clock.advance(diesAfterMs);
      await lab.crash();
      notifier.fault = 'none';
      await using reopened = await lab.reopen();
      await reopened.clock.advance(120_000);
      expect(told(notifier)).toContain('raised warning board-1');
      expect(new Set(notifier.received.map(({ id }) => id)).size).toBe(1);
    }
  });

  it('with the same name are a mistake of the program', async () => {
    await expect(labWith(memoryNotifier(), memoryNotifier())).rejects.toThrow('two notifiers have the same name');
  });

  it('are told of trouble that comes and goes only what it comes to', async () => {
    const notifier = memoryNotifier();
    await using lab = await labWith(notifier);
    const board = await lab.addBoard({ powerControl: { method: 'manual' } });
    for (let flaps = 0; flaps < 10; flaps += 1) {
      await lab.clock.runUntil(lab.boards.powerCycleBoard(board.id));
      await lab.power.clearIntervention(board.id, { by: 'ada' });
      await lab.clock.advance(1_000);
    }
    await lab.clock.runUntil(lab.boards.powerCycleBoard(board.id));
    await lab.clock.advance(1_000);
    const quick = told(notifier);
    expect(quick.length).toBeLessThanOrEqual(2 * limits.alertFlapsTold);
    await lab.clock.advance(limits.alertSettleMs);
    expect(told(notifier).at(-1)).toBe(`raised critical ${board.id}`);
    expect(told(notifier).length).toBeLessThanOrEqual(quick.length + 1);
  });
});
