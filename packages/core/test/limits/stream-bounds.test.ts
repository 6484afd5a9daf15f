import { describe, expect, it } from 'vitest';
import { limits, localShell, parseTap, SharedConsole, type VmEvent, type WatchedBytes } from '@bringup/core';
import { ConsoleReader, fakeClock, MemoryLine } from '@bringup/core/testing';
import { BootWatch } from '../../src/consoles/boot-watch.ts';
import { VmEventFeed } from '../../src/local/vm-events.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { LogStore } from '../../src/work/logs.ts';
import { withLimits } from '../support/limits.ts';
import { textOf } from '../support/requests.ts';

describe('logs', () => {
  const logged = async (...appended: readonly string[]): Promise<string> => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const logs = new LogStore(store, clock);
    // Each piece by a writer of its own: a full log stays full for the process that goes on with it.
    for (const text of appended) {
      await using writer = await logs.openWriter('log', (change) => store.transaction(change));
      await writer.append(text);
      await writer.append('');
    }
    return await textOf(logs.read('log'));
  };

  it('L-logMaxBytes: hold that much; of what comes after, only that it was dropped is said, once', () =>
    withLimits({ logMaxBytes: 1_000 }, async () => {
      expect(await logged('a'.repeat(999), 'b')).toBe(`${'a'.repeat(999)}b`);
      const cut = `${'a'.repeat(1_000)}\n[log limit reached: the rest was dropped]\n`;
      expect(await logged('a'.repeat(1_001))).toBe(cut);
      expect(await logged('a'.repeat(1_000), 'b', 'c', 'd')).toBe(cut);
    }));

  it('L-logChunkBytes: are stored in pieces no larger than that', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const logs = new LogStore(store, clock);
    await using writer = await logs.openWriter('log', (change) => store.transaction(change));
    await writer.append('x'.repeat(2 * limits.logChunkBytes + 1));
    const rows = await store.db.selectFrom('log_chunks').select('bytes').orderBy('start_byte').execute();
    expect(rows.map(({ bytes }) => bytes.byteLength)).toEqual([limits.logChunkBytes, limits.logChunkBytes, 1]);
  });
});

describe('VM events', () => {
  const publish = async (count: number): Promise<{ told: number; end: unknown }> => {
    const feed = new VmEventFeed();
    const events = feed.subscribe();
    const first = events.next();
    const event: VmEvent = { name: 'vm', type: 'started' };
    feed.publish(event);
    await first;
    for (let n = 0; n < count; n += 1) feed.publish(event);
    feed.close();
    let told = 0;
    try {
      for await (const _ of events) told += 1;
      return { told, end: 'closed' };
    } catch (error) {
      return { told, end: (error as { code?: string }).code };
    }
  };

  it('L-vmEventBacklog: wait for a slow reader up to that many; one more breaks the subscription', async () => {
    expect(await publish(limits.vmEventBacklog)).toEqual({ told: limits.vmEventBacklog, end: 'closed' });
    expect(await publish(limits.vmEventBacklog + 1)).toEqual({ told: 0, end: 'connection-lost' });
  });
});

describe('a shared console', () => {
  const say = async (bytes: number): Promise<readonly WatchedBytes[]> => {
    const line = new MemoryLine('board-1');
    const clock = fakeClock();
    await using shared = new SharedConsole({ name: 'board-1', console: line.open() });
    const watched = shared.watch();
    for (let at = 0; at < bytes; at += 1_024) line.say('x'.repeat(Math.min(1_024, bytes - at)));
    await clock.settle();
    line.end();
    await clock.settle();
    return await Array.fromAsync(watched);
  };
  const lost = (pieces: readonly WatchedBytes[]): number =>
    pieces.reduce((sum, piece) => sum + (piece.type === 'lost' ? piece.lostBytes : 0), 0);

  it('L-consoleWatcherBytes: keeps that much for a slow watcher; then the oldest goes, and the watcher is told', () =>
    withLimits({ consoleWatcherBytes: 8_192 }, async () => {
      expect(lost(await say(8_192))).toBe(0);
      expect(lost(await say(8_193))).toBeGreaterThan(0);
    }));

  it('L-consoleKeptBytes: keeps that much for the next driver; then the oldest goes', () =>
    withLimits({ consoleKeptBytes: 4_096 }, async () => {
      const heard = async (bytes: number): Promise<number> => {
        const line = new MemoryLine('board-1');
        const clock = fakeClock();
        await using shared = new SharedConsole({ name: 'board-1', console: line.open() });
        for (let at = 0; at < bytes; at += 1_024) {
          line.say(`${'x'.repeat(1_023)}${at + 1_024 === bytes ? '$' : 'x'}`);
          await clock.settle();
        }
        const reader = new ConsoleReader(shared.drive());
        return (await reader.until('$')).length;
      };
      expect(await heard(4_096)).toBe(4_096);
      expect(await heard(5_120)).toBe(4_096);
    }));
});

describe('test output', () => {
  const results = (count: number): string =>
    `TAP version 13\n1..${count}\n${Array.from({ length: count }, (_, n) => `ok ${n + 1} t\n`).join('')}`;

  it('L-maxTestResults: holds that many results; the rest is left out, and said so', () =>
    withLimits({ maxTestResults: 50 }, async () => {
      expect(parseTap(results(50))).toMatchObject({ errors: [] });
      expect(parseTap(results(50)).tests).toHaveLength(50);
      const more = parseTap(results(51));
      expect(more.tests).toHaveLength(50);
      expect(more.errors).not.toEqual([]);
    }));

  it('L-maxTestDepth: nests that deep; what is below is left out, and said so', () => {
    const nested = (depth: number): string => {
      const lines = ['KTAP version 1', '1..1'];
      for (let level = 1; level < depth; level += 1) {
        lines.push(`${'  '.repeat(level)}KTAP version 1`, `${'  '.repeat(level)}1..1`);
      }
      for (let level = depth - 1; level >= 0; level -= 1) lines.push(`${'  '.repeat(level)}ok 1 level${level}`);
      return `${lines.join('\n')}\n`;
    };
    const deep = /nested deeper/;
    expect(parseTap(nested(limits.maxTestDepth)).errors.join()).not.toMatch(deep);
    expect(parseTap(nested(limits.maxTestDepth + 1)).errors.join()).toMatch(deep);
  });

  it('L-testDiagnosticLines: keeps that many lines of one test', () => {
    const said = (lines: number): number => {
      const comments = Array.from({ length: lines }, (_, n) => `# line ${n}\n`).join('');
      return parseTap(`TAP version 13\n1..1\n${comments}not ok 1 t\n`).tests[0]?.diagnostics.length ?? 0;
    };
    expect(said(limits.testDiagnosticLines)).toBe(limits.testDiagnosticLines);
    expect(said(limits.testDiagnosticLines + 1)).toBe(limits.testDiagnosticLines);
  });

  it('L-testParseErrors: keeps that many complaints', () => {
    const complaints = (count: number): number => {
      const odd = Array.from({ length: count }, (_, n) => `ok ${n + 1} t${n} # TIMEOUT 3 seconds\n`).join('');
      return parseTap(`TAP version 13\n1..${count}\n${odd}`).errors.length;
    };
    expect(complaints(limits.testParseErrors)).toBe(limits.testParseErrors);
    expect(complaints(limits.testParseErrors + 1)).toBe(limits.testParseErrors);
  });
});

describe('a boot', () => {
  it('L-bootReportsMax: keeps that many reports that did not decide it', () =>
    withLimits({ bootReportsMax: 3 }, async () => {
      const reports = async (count: number): Promise<number> => {
        const clock = fakeClock();
        using watch = new BootWatch({ success: ['all done'], clock });
        for (let n = 0; n < count; n += 1) {
          watch.feed(Buffer.from('WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2\n---[ end trace 0 ]---\n'));
        }
        watch.feed(Buffer.from('all done\n'));
        const outcome = await clock.runUntil(watch.outcome);
        return outcome.type === 'booted' ? outcome.warnings.length : -1;
      };
      expect(await reports(3)).toBe(3);
      expect(await reports(4)).toBe(3);
    }));
});

describe('a short command', () => {
  it('L-execMaxOutputBytes: may say that much; one byte more ends it', async () => {
    await using shell = localShell();
    await using session = await shell.connect({ hostname: 'localhost', username: 'nobody' });
    const say = (bytes: number): ReturnType<typeof session.exec> =>
      session.exec(['head', '-c', `${bytes}`, '/dev/zero']);
    expect((await say(limits.execMaxOutputBytes)).stdout.byteLength).toBe(limits.execMaxOutputBytes);
    await expect(say(limits.execMaxOutputBytes + 1)).rejects.toMatchObject({ code: 'command-failed' });
  });
});
