import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { boardRequest, BringupError, limits, Secret, webhookNotifier, type Notification } from '@bringup/core';
import { fakeClock, memoryLab } from '@bringup/core/testing';
import { connectPatiently } from '../../src/pool/look.ts';
import { Figures } from '../../src/status/figures.ts';
import { EventFeed } from '../../src/store/feed.ts';
import { Reconnects } from '../../src/work/session.ts';
import { handler, startEngine } from '../support/engine.ts';
import { withLimits } from '../support/limits.ts';
import { kernelPipeline, repositories } from '../support/requests.ts';

describe('work', () => {
  it('L-workConcurrency: runs at most that many items in a process; the next starts when one ends', async () => {
    const ends: (() => void)[] = [];
    const begun: string[] = [];
    await using t = await startEngine([
      handler('build', ({ id }) => {
        begun.push(id);
        return new Promise<void>((resolve) => ends.push(resolve));
      }),
    ]);
    const ids: string[] = [];
    for (let n = 0; n <= limits.workConcurrency; n += 1) ids.push(await t.engine.submit('build', {}));
    await t.clock.advance(10 * limits.workPollMs);
    expect(begun).toEqual(ids.slice(0, limits.workConcurrency));
    ends[0]?.();
    await t.clock.runUntil(t.engine.finished(ids[0] ?? ''));
    await t.clock.advance(limits.workPollMs);
    expect(begun).toEqual(ids);
    for (const end of ends) end();
  });

  it('L-workUnfinishedMax: is refused beyond that many, until some has ended', () =>
    // A pipeline, and the build it waits for.
    withLimits({ workUnfinishedMax: 6 }, async () => {
      await using lab = await memoryLab({ repositories, roles: [] });
      const ids: string[] = [];
      for (let n = 0; n < 3; n += 1) ids.push((await lab.pipelines.createPipeline(kernelPipeline)).id);
      await expect(lab.pipelines.createPipeline(kernelPipeline)).rejects.toMatchObject({
        code: 'unavailable',
        retryable: true,
        details: { limit: 6 },
      });
      expect(await lab.pipelines.getPipelineHistory()).toHaveLength(3);
      await lab.pipelines.cancelPipeline(ids[0] ?? '');
      await lab.pipelines.createPipeline(kernelPipeline);
    }));
});

describe('the waiting list', () => {
  it('L-waitingRequestsMax: takes no more requests of programs', () =>
    withLimits({ waitingRequestsMax: 2 }, async () => {
      await using lab = await memoryLab();
      const { id } = await lab.addBoard();
      const { architecture } = await lab.boards.getBoardStatus(id);
      const requirements = { architecture, boardTypes: ['evaluation'] };
      await lab.selection.boards.reserveBoard(id, requirements, { holder: 'a' });
      const stop = new AbortController();
      const waits = ['b', 'c'].map((holder) =>
        lab.reservations.request(boardRequest(requirements), { holder, signal: stop.signal }).catch(() => undefined),
      );
      await lab.clock.settle();
      await expect(lab.reservations.request(boardRequest(requirements), { holder: 'd' })).rejects.toMatchObject({
        code: 'unavailable',
        retryable: true,
      });
      stop.abort();
      await lab.clock.runUntil(Promise.all(waits));
    }));
});

describe('tries', () => {
  const timeout = new BringupError('deadline-exceeded', 'nobody answers', { retryable: true });

  it('L-connectRetries: of a connection that times out are that many more than one', async () => {
    const clock = fakeClock();
    const tries = async (failures: number): Promise<[number, unknown]> => {
      let count = 0;
      const end = await clock.runUntil(
        connectPatiently(clock, new AbortController().signal, async () => {
          count += 1;
          if (count <= failures) throw timeout;
          return 'connected';
        }).catch((error: BringupError) => error.code),
      );
      return [count, end];
    };
    expect(await tries(limits.connectRetries)).toEqual([limits.connectRetries + 1, 'connected']);
    expect(await tries(limits.connectRetries + 1)).toEqual([limits.connectRetries + 1, 'deadline-exceeded']);
  });

  it('L-reconnectAttempts: of a connection that breaks are that many in a row without progress', async () => {
    const clock = fakeClock();
    const reconnects = new Reconnects(clock, new AbortController().signal);
    const fail = (): Promise<void> => clock.runUntil(reconnects.pauseAfter(timeout));
    for (let n = 0; n < limits.reconnectAttempts; n += 1) await fail();
    reconnects.succeeded();
    for (let n = 0; n < limits.reconnectAttempts; n += 1) await fail();
    await expect(fail()).rejects.toBe(timeout);
  });

  it('L-webhookRedirects: follow that many redirects', async () => {
    let redirects = 0;
    const server = createServer((request, response) => {
      const hop = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('hop') ?? 0);
      request.resume();
      if (hop < redirects) response.writeHead(308, { location: `/?hop=${hop + 1}` }).end();
      else response.writeHead(204).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const notifier = webhookNotifier({
      secret: new Secret('s'),
      url: new Secret(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    });
    const alert = { id: 'a', type: 'custom', severity: 'info', state: 'open', subject: '', message: 'm', details: {} };
    const times = { count: 1, raisedAt: 0, lastSeenAt: 0 };
    const deliver = async (hops: number): Promise<unknown> => {
      redirects = hops;
      return notifier
        .deliver({ id: 'n', reason: 'raised', alert: { ...alert, ...times } } as unknown as Notification)
        .then(
          () => 'delivered',
          (error: BringupError) => error.code,
        );
    };
    expect(await deliver(limits.webhookRedirects)).toBe('delivered');
    expect(await deliver(limits.webhookRedirects + 1)).toBe('delivery-failed');
    await notifier[Symbol.asyncDispose]();
    server.close();
  });
});

describe('what is kept', () => {
  it('L-alertsKept: is that many resolved alerts, the newest', () =>
    withLimits({ alertsKept: 3 }, async () => {
      const clock = fakeClock();
      await using lab = await memoryLab({ clock, roles: [] });
      for (let n = 0; n < 4; n += 1) {
        const { id } = await lab.alerts.raise({ type: 'custom', severity: 'info', subject: `${n}`, message: 'm' });
        await lab.alerts.resolve(id, { by: 'ada' });
      }
      await lab.start({ roles: ['recovery'] });
      await clock.advance(limits.alertSweepMs);
      expect((await lab.alerts.list()).map(({ subject }) => subject)).toEqual(['3', '2', '1']);
    }));
});

describe('what is counted', () => {
  it('L-metricRows: is that many rows at most', () =>
    withLimits({ metricRows: 2 }, async () => {
      const clock = fakeClock();
      await using t = await startEngine([], { clock });
      const logger = { debug() {}, info() {}, warn() {}, error() {} };
      using events = new EventFeed({ store: t.store, clock, logger });
      for (let n = 0; n < 3; n += 1) await t.engine.submit('build', {});
      const readings = await new Figures({ store: t.store, events, clock }).read();
      expect(readings.find(({ gauge }) => gauge === 'workCount')?.value).toBe(2);
    }));

  it('L-statusRows: is that many rows at most', () =>
    withLimits({ statusRows: 2 }, async () => {
      await using lab = await memoryLab({ repositories, roles: [] });
      for (let n = 0; n < 3; n += 1) await lab.pipelines.createPipeline(kernelPipeline);
      expect((await lab.getStatus()).work.queued).toBe(2);
    }));
});
