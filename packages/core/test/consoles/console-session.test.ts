import { describe, expect, it } from 'vitest';
import { ConsoleSession } from '../../src/consoles/console-session.ts';
import { limits } from '../../src/limits.ts';
import { fakeClock } from '../../src/testing/clock.ts';
import { MemoryLine } from '../../src/testing/memory-console.ts';

function open(sink?: (chunk: Uint8Array) => void | Promise<void>) {
  const line = new MemoryLine('board-1');
  const clock = fakeClock();
  const console = line.open();
  const session = new ConsoleSession({ console, clock, ...(sink === undefined ? {} : { sink }) });
  return { line, clock, console, session };
}

describe('expecting on a console', () => {
  it('finds the leftmost of many patterns, also in a line that has no end yet', async () => {
    const { line, session } = open();
    line.say('one two');
    expect(await session.expect(['two', /o(n)e/])).toMatchObject({
      type: 'match',
      index: 1,
      groups: ['one', 'n'],
      before: '',
    });
    expect(await session.expect(['two', 'one'])).toMatchObject({ type: 'match', index: 0, before: ' ' });
  });

  it('consumes what it matched and what stood before it', async () => {
    const { line, session, clock } = open();
    line.say('a\nb\nmark\nc\n');
    const passed: string[] = [];
    await session.expect(['mark'], { onPassed: ({ text }) => passed.push(text) });
    expect(passed).toEqual(['a', 'b']);
    expect(await clock.runUntil(session.expect(['a', 'b', 'mark']))).toEqual({ type: 'timeout', tail: '' });
  });

  it('matches a line that comes in pieces, whatever came before it', async () => {
    const { line, session, clock } = open();
    const found = session.expect(['login: ']);
    for (const piece of ['board l', 'ogi', 'n', ': ']) {
      line.say(piece);
      await clock.settle();
    }
    expect(await found).toMatchObject({ type: 'match', before: 'board ' });
  });

  it('matches text that a kernel message has cut in two', async () => {
    const { line, session } = open();
    line.say('board lo[   12.345678] usb 1-1: new device\r\ngin: ');
    expect(await session.expect(['login: '])).toMatchObject({ type: 'match', programBefore: 'board ' });
  });

  it('keeps a bounded amount of text for later', async () => {
    const { line, session, clock } = open();
    line.say('early\n');
    line.say('filler\n'.repeat(limits.consoleWindowBytes / 7));
    line.say('late\n');
    await clock.settle();
    expect(await session.expect(['early', 'late'])).toMatchObject({ type: 'match', index: 1 });
  });

  it('says when time ran out, and what the console said last', async () => {
    const { line, session, clock } = open();
    line.say('x\nlast words');
    expect(await clock.runUntil(session.expect(['never'], { timeoutMs: 5_000 }))).toEqual({
      type: 'timeout',
      tail: 'last words',
    });
  });

  it('ends when the console does, after looking at its last bytes', async () => {
    const { line, session } = open();
    line.say('bye');
    line.end();
    expect(await session.expect(['bye'])).toMatchObject({ type: 'match' });
    expect(await session.expect(['more'])).toMatchObject({ type: 'end', error: undefined });
  });

  it('passes on why the console broke', async () => {
    const { line, session } = open();
    const found = session.expect(['x']);
    line.cut();
    expect(await found).toMatchObject({ type: 'end', error: { code: 'connection-lost' } });
  });

  it('is aborted by its signal and can go on afterwards', async () => {
    const { line, session } = open();
    const abort = new AbortController();
    const found = session.expect(['x'], { signal: abort.signal });
    abort.abort();
    await expect(found).rejects.toMatchObject({ code: 'aborted' });
    line.say('x');
    expect(await session.expect(['x'])).toMatchObject({ type: 'match' });
  });

  it('refuses a second expect meanwhile', async () => {
    const { line, session } = open();
    const first = session.expect(['x']);
    await expect(session.expect(['y'])).rejects.toThrow(TypeError);
    line.say('x');
    await first;
  });
});

describe('the log of a console session', () => {
  it('has every byte before anybody can match it', async () => {
    const logged: Buffer[] = [];
    const gate = Promise.withResolvers<void>();
    const { line, session, clock } = open(async (chunk) => {
      await gate.promise;
      logged.push(Buffer.from(chunk));
    });
    line.say('\x1b[1mREADY\r\n\0');
    const found = session.expect(['READY']);
    await clock.settle();
    expect(logged).toEqual([]);
    gate.resolve();
    expect(await found).toMatchObject({ type: 'match' });
    expect(Buffer.concat(logged).toString()).toBe('\x1b[1mREADY\r\n\0');
  });

  it('ends the session when it can take no more', async () => {
    const { line, session } = open(() => Promise.reject(new Error('disk full')));
    line.say('x');
    expect(await session.expect(['x'])).toMatchObject({ type: 'end', error: { message: 'disk full' } });
  });

  it('does not keep a session from ending, even when it hangs', async () => {
    const { line, session, clock } = open(() => new Promise(() => {}));
    line.say('x');
    await clock.settle();
    await session[Symbol.asyncDispose]();
    expect(session.open).toBe(false);
  });
});
