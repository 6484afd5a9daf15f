import { describe, expect, it } from 'vitest';
import { BringupError, isBringupError, limits, localShell } from '@bringup/core';
import { memoryLab } from '@bringup/core/testing';
import { errorLines } from '../../src/builds/error-lines.ts';
import { minuteOf, readHistory, storeMinute } from '../../src/health/history.ts';
import { initialStanding, judge, type Standing } from '../../src/health/judge.ts';
import { linesOf } from '../../src/pool/probe.ts';
import { rankOf } from '../../src/pool/waiting-records.ts';
import { withLimits } from '../support/limits.ts';
import { testPool } from '../support/pool.ts';
import { kernelBuild, repositories, textOf } from '../support/requests.ts';

describe('a build', () => {
  it('L-errorLines: that fails names that many lines of its log', () => {
    const log = (lines: number): string => Array.from({ length: lines }, (_, n) => `main.c:${n}: error: no\n`).join('');
    expect(errorLines(log(limits.errorLines))).toHaveLength(limits.errorLines);
    expect(errorLines(log(limits.errorLines + 1))).toHaveLength(limits.errorLines);
  });

  it('L-maxArtifactsPerBuild: may have that many outputs; with one more it has failed', () =>
    withLimits({ maxArtifactsPerBuild: 3 }, async () => {
      let outputs = 0;
      await using lab = await memoryLab({
        repositories,
        build: ({ output }) => {
          for (let n = 0; n < outputs; n += 1) output(`out/${n}`, `${n}`);
        },
      });
      await lab.addServer();
      const build = async (count: number): Promise<unknown> => {
        outputs = count;
        const { id } = await lab.builds.submitBuild({
          ...kernelBuild,
          buildConfig: { recipe: 'script', script: 'make', outputs: [{ type: 'rootfs', path: 'out/*' }] },
        });
        const { status, error } = await lab.clock.runUntil(lab.builds.waitForBuild(id));
        return [status, error?.code];
      };
      expect(await build(3)).toEqual(['completed', undefined]);
      expect(await build(4)).toEqual(['failed', 'output-missing']);
    }));

  it('L-artifactSuggestions: that is not found has that many suggested in its place', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer();
    const suggested = async (): Promise<number> => {
      try {
        await lab.artifacts.select({ branch: 'main', architecture: 'arm64' });
      } catch (error) {
        if (isBringupError(error, 'artifact-not-found')) return (error.details['suggestions'] as string[]).length;
        throw error;
      }
      return -1;
    };
    for (let n = 1; n <= limits.artifactSuggestions + 1; n += 1) {
      const { id } = await lab.builds.submitBuild(kernelBuild);
      await lab.clock.runUntil(lab.builds.waitForBuild(id));
      expect(await suggested()).toBe(Math.min(n, limits.artifactSuggestions));
    }
  });
});

describe('a process', () => {
  it('L-unreadStderrBytes: has that much of its unread standard error kept, the latest', async () => {
    await using shell = localShell();
    await using session = await shell.connect({ hostname: 'localhost', username: 'nobody' });
    const said = async (bytes: number): Promise<string> => {
      const script = 'head -c "$1" /dev/zero | tr "\\0" x >&2; printf end >&2';
      const process = await session.spawn(['sh', '-c', script, 'x', `${bytes - 3}`]);
      await process.exited;
      return textOf(process.stderr);
    };
    const whole = await said(limits.unreadStderrBytes);
    expect([whole.length, whole.slice(-4)]).toEqual([limits.unreadStderrBytes, 'xend']);
    const cut = await said(4 * limits.unreadStderrBytes);
    expect(cut.length).toBeLessThanOrEqual(limits.unreadStderrBytes);
    expect(cut.slice(-4)).toBe('xend');
  });
});

describe('health', () => {
  it('L-healthHypervisorRetries: of a hypervisor are that many further tries before its host is degraded', () => {
    const error = new BringupError('hypervisor-failed', 'no');
    const after = (failures: number): string => {
      let standing: Standing = initialStanding('online');
      for (let n = 0; n < failures; n += 1) {
        ({ standing } = judge(standing, { type: 'answered', hypervisorError: error }, n));
      }
      return standing.status;
    };
    expect(after(limits.healthHypervisorRetries)).toBe('online');
    expect(after(limits.healthHypervisorRetries + 1)).toBe('degraded');
  });

  it('L-healthHistorySamples: is told in that many samples', () =>
    withLimits({ healthHistorySamples: 3 }, async () => {
      await using pool = await testPool();
      const id = await pool.add({ kind: 'host', name: 'host1', architectures: ['x86_64'] });
      const told: number[] = [];
      for (let n = 0; n < 4; n += 1) {
        const at = n * 60_000;
        await pool.store.transaction((tx) => storeMinute(tx, id, minuteOf(at, [[at, 1, 5, 1, 2, 3, 4, 0, at, at]])));
        told.push((await readHistory(pool.store, id, {}, { now: at + 60_000, unwritten: [] })).length);
      }
      expect(told).toEqual([1, 2, 3, 3]);
    }));
});

describe('the pool', () => {
  it('L-waitingMaxPriority: takes priorities beyond that, up or down, for that', () => {
    const most = limits.waitingMaxPriority;
    expect(rankOf(0, most)).toBeLessThan(rankOf(0, most - 1));
    expect(rankOf(0, most + 1)).toBe(rankOf(0, most));
    expect(rankOf(0, -most - 1)).toBe(rankOf(0, -most));
  });

  it('L-diagnosisEntries: tells that many events of a resource, the latest', () =>
    withLimits({ diagnosisEntries: 3 }, async () => {
      await using lab = await memoryLab();
      const { id } = await lab.addServer();
      for (let n = 0; n < 4; n += 1) await lab.buildServers.updateServer(id, { labels: { n: `${n}` } });
      const { events } = await lab.diagnose(id);
      expect(events).toHaveLength(3);
      expect(events.map(({ seq }) => seq)).toEqual(events.map(({ seq }) => seq).toSorted((a, b) => a - b));
    }));

  it('L-statusDeliveries: has that many deliveries of alerts looked at, the newest', () =>
    withLimits({ statusDeliveries: 1 }, async () => {
      let refuses = true;
      const notifier = {
        name: 'pager',
        deliver: async () => {
          if (refuses) throw new BringupError('delivery-failed', 'no');
        },
        [Symbol.asyncDispose]: async () => undefined,
      };
      await using lab = await memoryLab({ notifiers: [notifier] });
      const raise = async (subject: string): Promise<number | undefined> => {
        await lab.alerts.raise({ type: 'custom', severity: 'info', subject, message: 'm' });
        await lab.clock.advance(2 * limits.workPollMs);
        return (await lab.getStatus()).alerts?.undelivered;
      };
      expect(await raise('a')).toBe(1);
      expect(await raise('b')).toBe(1);
      refuses = false;
      expect(await raise('c')).toBe(0);
    }));
});

describe('what a machine says of itself', () => {
  it('L-probeLines: is so many lines, the first', () => {
    const lines = (count: number): string => Array.from({ length: count }, (_, n) => `line ${n}`).join('\n');
    expect(linesOf(lines(limits.probeLines)).at(-1)).toBe(`line ${limits.probeLines - 1}`);
    expect(linesOf(lines(limits.probeLines + 1))).toEqual(linesOf(lines(limits.probeLines)));
  });

  it('L-probeLineChars: has so many characters in a line, the first', () => {
    const line = 'x'.repeat(limits.probeLineChars);
    expect(linesOf(`${line}\nnext`)).toEqual([line, 'next']);
    expect(linesOf(`${line}y\nnext`)).toEqual([line, 'next']);
  });
});
