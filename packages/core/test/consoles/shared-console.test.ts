import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConsoleSession } from '../../src/consoles/console-session.ts';
import { SharedConsole, type WatchedBytes } from '../../src/consoles/shared-console.ts';
import { fakeClock } from '../../src/testing/clock.ts';
import { ConsoleReader } from '../../src/testing/console-reader.ts';
import { MemoryLine } from '../../src/testing/memory-console.ts';

function share(options: { readonly keptBytes?: number; readonly sink?: (chunk: Uint8Array) => Promise<void> } = {}) {
  const line = new MemoryLine('board-1');
  const shared = new SharedConsole({ name: 'board-1', console: line.open(), ...options });
  return { line, shared, clock: fakeClock() };
}

async function collect(watched: AsyncIterable<WatchedBytes>): Promise<WatchedBytes[]> {
  return Array.fromAsync(watched);
}

const textOf = (pieces: readonly WatchedBytes[]): string =>
  pieces
    .map((piece) => (piece.type === 'bytes' ? Buffer.from(piece.bytes).toString() : `<${piece.lostBytes}>`))
    .join('');

describe('a shared console', () => {
  it('is heard by its driver and by every watcher, from when they began', async () => {
    const { line, shared, clock } = share();
    const first = collect(shared.watch());
    const driver = new ConsoleReader(shared.drive());
    line.say('one ');
    await driver.until('one ');
    const second = collect(shared.watch());
    line.say('two');
    line.end();
    await driver.ended;
    await clock.settle();
    expect(driver.text).toBe('one two');
    expect(textOf(await first)).toBe('one two');
    expect(await second).toEqual([{ type: 'bytes', offset: 4, bytes: new Uint8Array(Buffer.from('two')) }]);
  });

  it('has one driver at a time; the next one goes on where the last one stopped', async () => {
    const { line, shared, clock } = share();
    const driver = shared.drive();
    expect(() => shared.drive()).toThrow(expect.objectContaining({ code: 'console-busy', retryable: true }));
    const reader = new ConsoleReader(driver);
    line.say('mine.');
    await reader.until('mine.');
    await driver[Symbol.asyncDispose]();
    await reader.ended;
    await expect(driver.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'console-closed' });
    line.say('kept.');
    await clock.settle();
    const next = new ConsoleReader(shared.drive());
    line.say('now.');
    expect(await next.until('now.')).toBe('kept.now.');
  });

  it('keeps a bounded amount for the next driver', async () => {
    const { line, shared, clock } = share({ keptBytes: 10 });
    for (const piece of ['0123', '4567', '89ab', 'cdef']) {
      line.say(piece);
      await clock.settle();
    }
    const reader = new ConsoleReader(shared.drive());
    expect(await reader.until('f')).toBe('89abcdef');
  });

  it('tells a watcher that is slow what it lost, and holds nobody up for it', async () => {
    const { line, shared, clock } = share();
    const slow = shared.watch({ maxBytes: 8 })[Symbol.asyncIterator]();
    const driver = new ConsoleReader(shared.drive());
    for (const piece of ['aaaa', 'bbbb', 'cccc', 'dddd']) {
      line.say(piece);
      await clock.settle();
    }
    expect(driver.text).toBe('aaaabbbbccccdddd');
    expect((await slow.next()).value).toEqual({ type: 'lost', offset: 0, lostBytes: 8 });
    expect((await slow.next()).value).toMatchObject({ type: 'bytes', offset: 8 });
  });

  it('a driver that is slow misses nothing: the machine waits for it', async () => {
    const { line, shared, clock } = share({ keptBytes: 4 });
    const output = shared.drive().output[Symbol.asyncIterator]();
    const said = ['aaaa', 'bbbb', 'cccc', 'dddd', 'eeee'];
    const heard: string[] = [];
    for (const piece of said) {
      line.say(piece);
      await clock.settle();
    }
    while (heard.join('').length < 20) heard.push(Buffer.from((await output.next()).value ?? []).toString());
    expect(heard.join('')).toBe(said.join(''));
  });

  it('has its log written before anybody hears of it, and ends for all when that fails', async () => {
    const gate = Promise.withResolvers<void>();
    const { line, shared, clock } = share({ sink: () => gate.promise });
    const driver = new ConsoleReader(shared.drive());
    const watching = collect(shared.watch());
    line.say('x');
    await clock.settle();
    expect(driver.text).toBe('');
    gate.reject(new Error('disk full'));
    await expect(driver.ended).rejects.toMatchObject({ message: 'disk full' });
    await expect(watching).rejects.toMatchObject({ message: 'disk full' });
  });

  it('tells driver and watchers why it broke', async () => {
    const { line, shared } = share();
    const driver = new ConsoleReader(shared.drive());
    const watching = collect(shared.watch());
    line.cut();
    await expect(driver.ended).rejects.toMatchObject({ code: 'connection-lost' });
    await expect(watching).rejects.toMatchObject({ code: 'connection-lost' });
    expect(() => shared.drive()).toThrow(expect.objectContaining({ code: 'connection-lost' }));
  });

  it('closed, it ends for all and frees the console, even when its log hangs', async () => {
    const { line, shared, clock } = share({ sink: () => new Promise(() => {}) });
    const driver = new ConsoleReader(shared.drive());
    const watching = collect(shared.watch());
    line.say('x');
    await clock.settle();
    await shared[Symbol.asyncDispose]();
    await driver.ended;
    expect(await watching).toEqual([]);
    await line.open()[Symbol.asyncDispose]();
  });

  it('a watcher stops by its signal or by leaving the loop', async () => {
    const { line, shared } = share();
    const abort = new AbortController();
    const watching = collect(shared.watch({ signal: abort.signal }));
    abort.abort();
    expect(await watching).toEqual([]);
    const pieces = shared.watch();
    line.say('x');
    for await (const piece of pieces) {
      expect(piece.type).toBe('bytes');
      break;
    }
  });

  it('whatever pieces it comes in, log, driver and each watcher have the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 20 }), async (pieces) => {
        const logged: Uint8Array[] = [];
        const line = new MemoryLine('board-1');
        const sink = (chunk: Uint8Array): void => void logged.push(chunk);
        const shared = new SharedConsole({ name: 'board-1', console: line.open(), sink });
        const driver = new ConsoleReader(shared.drive());
        const watching = collect(shared.watch());
        for (const piece of pieces) {
          line.say(piece);
          await Promise.resolve();
        }
        line.end();
        await driver.ended;
        const said = Buffer.concat(pieces);
        const watched = (await watching).map((piece) => (piece.type === 'bytes' ? piece.bytes : Buffer.from('lost')));
        for (const heard of [Buffer.concat(logged), driver.bytes, Buffer.concat(watched)])
          expect(heard.equals(said)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('a session drives it as any console', async () => {
    const { line, shared, clock } = share();
    await using session = new ConsoleSession({ console: shared.drive(), clock });
    line.say('login: ');
    expect(await session.expect(['login: '])).toMatchObject({ type: 'match' });
  });
});
