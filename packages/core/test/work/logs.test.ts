import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { fakeClock, seededRandom } from '@bringup/core/testing';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { LogStore } from '../../src/work/logs.ts';
import { handler, startEngine, untilStopped } from '../support/engine.ts';
import { textOf } from '../support/requests.ts';

describe('a log', () => {
  it('gives back what was appended, from any byte on, across the borders of its pieces', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const logs = new LogStore(store, clock);
    const random = seededRandom(3);
    const bytes = Buffer.from(Uint8Array.from({ length: 3 * limits.logChunkBytes + 17 }, () => random.next() * 256));
    await using writer = await logs.openWriter('log', (change) => store.transaction(change));
    for (let at = 0; at < bytes.length; at += 5_000) await writer.append(bytes.subarray(at, at + 5_000));
    await writer.flush();
    for (const offset of [
      0,
      1,
      limits.logChunkBytes - 1,
      limits.logChunkBytes,
      2 * limits.logChunkBytes + 9,
      bytes.length,
    ]) {
      const parts: Uint8Array[] = [];
      for await (const part of logs.read('log', { offset })) parts.push(part);
      expect(Buffer.concat(parts).equals(bytes.subarray(offset)), `from ${offset}`).toBe(true);
    }
  });

  it('stores what trickles in soon, not only when it is much', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const logs = new LogStore(store, clock);
    await using writer = await logs.openWriter('log', (change) => store.transaction(change));
    await writer.append('a line\n');
    await clock.advance(limits.logFlushMs);
    expect(await textOf(logs.read('log'))).toBe('a line\n');
  });

  it('grows in one with what is changed along with it, or neither does', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const logs = new LogStore(store, clock);
    const open = () => logs.openWriter('log', (change) => store.transaction(change));
    const marked = () => store.db.selectFrom('logs').select('size_bytes').where('id', '=', 'mark').executeTakeFirst();
    await using writer = await open();
    await writer.append('one\n');
    await writer.flush(async ({ db }, size) => {
      await db.insertInto('logs').values({ id: 'mark', size_bytes: size, ended: 0 }).execute();
    });
    expect(await marked()).toEqual({ size_bytes: 4 });
    await writer.append('two\n');
    const failing = writer.flush(async ({ db }) => {
      await db.updateTable('logs').set({ size_bytes: 99 }).where('id', '=', 'mark').execute();
      throw new Error('lost');
    });
    await expect(failing).rejects.toThrow('lost');
    expect(await marked()).toEqual({ size_bytes: 4 });
    expect(await textOf(logs.read('log'))).toBe('one\n');
  });

  it('is not changed by a caller that uses its buffer again', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const logs = new LogStore(store, clock);
    await using writer = await logs.openWriter('log', (change) => store.transaction(change));
    const buffer = Buffer.from('first');
    await writer.append(buffer);
    buffer.fill('x');
    await writer.flush();
    expect(await textOf(logs.read('log'))).toBe('first');
  });

  it('is followed to the end of the work, with nothing missing and nothing twice', async () => {
    const lines = Array.from({ length: 40 }, (_, line) => `line ${line}\n`);
    await using t = await startEngine([
      handler('build', async (context) => {
        await using log = await context.openLog('log');
        for (const line of lines) {
          await log.append(line);
          await new Promise<void>((resolve) => context.clock.timer(100, resolve));
        }
      }),
    ]);
    const id = await t.engine.submit('build', {});
    const followed = textOf(t.engine.logs.readOf(id, 'log', { follow: true }));
    const fromTen = textOf(t.engine.logs.readOf(id, 'log', { follow: true, offset: 10 }));
    expect(await t.clock.runUntil(followed)).toBe(lines.join(''));
    expect(await t.clock.runUntil(fromTen)).toBe(lines.join('').slice(10));
  });

  it('ends the follower that is aborted, and is not found without its work', async () => {
    await using t = await startEngine([handler('build', (context) => untilStopped(context.signal))]);
    const id = await t.engine.submit('build', {});
    const abort = new AbortController();
    const followed = textOf(t.engine.logs.readOf(id, 'log', { follow: true, signal: abort.signal }));
    await t.clock.settle();
    abort.abort();
    await expect(followed).rejects.toMatchObject({ code: 'aborted' });
    await expect(textOf(t.engine.logs.readOf('nothing', 'log'))).rejects.toMatchObject({ code: 'not-found' });
  });

  it('takes nothing from a writer that another has followed', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const logs = new LogStore(store, clock);
    const open = () => logs.openWriter('log', (change) => store.transaction(change));
    await using stale = await open();
    await stale.append('one');
    await stale.flush();
    await using current = await open();
    await current.append(' two');
    await current.flush();
    await stale.append(' late');
    await expect(stale.flush()).rejects.toMatchObject({ code: 'lease-lost' });
    expect(await textOf(logs.read('log'))).toBe('one two');
  });
});
