import { describe, expect, it } from 'vitest';
import { ConsoleSession } from '../../src/consoles/console-session.ts';
import { limits } from '../../src/limits.ts';
import { fakeClock } from '../../src/testing/clock.ts';
import { MemoryLine } from '../../src/testing/memory-console.ts';

/** A machine that takes so many bytes at a time and drops the rest, as a UART with a full FIFO. */
function machine(options: { readonly echo: (bytes: Uint8Array) => string }) {
  const line = new MemoryLine('board-1');
  const clock = fakeClock();
  const taken: Uint8Array[] = [];
  let waiting: Uint8Array[] = [];
  void (async () => {
    for await (const bytes of line.input()) waiting.push(bytes);
  })();
  /** The machine gets round to its FIFO. */
  const serve = (): void => {
    const bytes = Buffer.concat(waiting).subarray(0, limits.consoleTypeBytes);
    waiting = [];
    taken.push(bytes);
    line.say(options.echo(bytes));
  };
  const session = new ConsoleSession({ console: line.open(), clock });
  return { line, clock, session, serve, taken: () => Buffer.concat(taken).toString() };
}

const long = 'setenv bootargs console=ttyAMA0,115200 root=/dev/vda rw rootwait earlycon loglevel=7\n';

describe('typing into a console', () => {
  it('waits for the echo of each piece, so that a slow machine drops nothing', async () => {
    const { clock, session, serve, taken } = machine({ echo: (bytes) => Buffer.from(bytes).toString() });
    const typing = session.type(long);
    for (let i = 0; i < long.length / limits.consoleTypeBytes + 1; i += 1) {
      await clock.settle();
      serve();
    }
    expect(await typing).toBe(true);
    expect(taken()).toBe(long);
  });

  it('finds the echo among kernel messages, line wraps and signs for control characters', async () => {
    const { clock, session, serve, taken } = machine({
      echo: (bytes) =>
        Buffer.from(bytes)
          .toString()
          .replace('\x03', '^C')
          .replaceAll(/(....)/g, '$1[    1.000000] usb 1-1: new\r\n'),
    });
    const typing = session.type('\x03echo something that is longer than a FIFO\n');
    for (let i = 0; i < 4; i += 1) {
      await clock.settle();
      serve();
    }
    expect(await typing).toBe(true);
    expect(taken()).toContain('longer than a FIFO');
  });

  it('goes on slowly where nothing is echoed, and says so', async () => {
    const { clock, session } = machine({ echo: () => '' });
    const startedAt = clock.now();
    expect(await clock.runUntil(session.type('x'.repeat(64)))).toBe(false);
    expect(clock.now() - startedAt).toBe(limits.consoleEchoMs + 3 * limits.consoleTypePauseMs);
  });

  it('ends with its deadline and with its signal', async () => {
    const { clock, session } = machine({ echo: () => '' });
    await expect(clock.runUntil(session.type('x', { timeoutMs: 10 }))).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
    const abort = new AbortController();
    const typing = session.type('x', { signal: abort.signal });
    abort.abort();
    await expect(typing).rejects.toMatchObject({ code: 'aborted' });
  });

  it('what was echoed is there to be expected all the same', async () => {
    const { clock, session, serve } = machine({ echo: (bytes) => Buffer.from(bytes).toString() });
    const typing = session.type('echo hello');
    await clock.settle();
    serve();
    await typing;
    expect(await session.expect(['hello'])).toMatchObject({ type: 'match', before: 'echo ' });
  });
});

describe('a magic SysRq', () => {
  it('is a break and then the key', async () => {
    const order: string[] = [];
    const line = new MemoryLine('board-1', () => order.push('break'));
    void (async () => {
      for await (const bytes of line.input()) order.push(Buffer.from(bytes).toString());
    })();
    const session = new ConsoleSession({ console: line.open(), clock: fakeClock() });
    await session.sysRq('b');
    await Promise.resolve();
    expect(order).toEqual(['break', 'b']);
  });

  it('is refused where the carrier has no break', async () => {
    const session = new ConsoleSession({ console: new MemoryLine('board-1').open(), clock: fakeClock() });
    await expect(session.sysRq('b')).rejects.toMatchObject({ code: 'unsupported' });
  });
});

describe('the raw bytes of a console', () => {
  it('go to the protocol that asked for them, and what it leaves is text again', async () => {
    const line = new MemoryLine('board-1');
    const clock = fakeClock();
    const session = new ConsoleSession({ console: line.open(), clock });
    const read = session.raw(async (bytes) => [await bytes.read(), await bytes.read()]);
    line.say(Uint8Array.of(0x06, 0x43, ...Buffer.from('=> ')));
    expect(await read).toEqual([0x06, 0x43]);
    expect(await session.expect(['=> '])).toMatchObject({ type: 'match', before: '' });
  });

  it('are waited for in bounded time, and not beyond the console’s end', async () => {
    const line = new MemoryLine('board-1');
    const clock = fakeClock();
    const session = new ConsoleSession({ console: line.open(), clock });
    expect(await clock.runUntil(session.raw((bytes) => bytes.read({ timeoutMs: 100 })))).toBeUndefined();
    const read = session.raw((bytes) => bytes.read());
    line.end();
    await expect(read).rejects.toMatchObject({ code: 'console-closed' });
  });
});
