import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { fakeClock, MemoryLine } from '@bringup/core/testing';
import { comesUpOnConsole } from '../../src/consoles/console-answers.ts';
import { freshLine } from '../../src/consoles/fresh-line.ts';

function board() {
  const clock = fakeClock();
  const line = new MemoryLine('board1');
  const typed: string[] = [];
  const listening = (async () => {
    for await (const bytes of line.input()) typed.push(Buffer.from(bytes).toString());
  })();
  const life = new AbortController();
  const coming = comesUpOnConsole(line.open(), clock, life.signal);
  let up = false;
  void coming.then(
    () => (up = true),
    () => undefined,
  );
  return { clock, line, typed, life, coming, isUp: () => up, end: () => (line.end(), listening) };
}

describe('a board that has just got power', () => {
  it('R18.2: is not typed to while it boots, which would stop U-Boot at its prompt', async () => {
    const { clock, line, typed, coming, isUp, end } = board();
    line.say('U-Boot 2023.01\r\nHit any key to stop autoboot:  3 ');
    for (let seconds = 3; seconds > 0; seconds -= 1) {
      await clock.advance(1_000);
      line.say(`\b\b ${seconds - 1}`);
    }
    line.say('Starting kernel ...\r\n');
    await clock.advance(limits.consoleBootQuietMs - 1);
    line.say('login: ');
    await clock.advance(limits.consoleBootQuietMs - 1);
    expect([typed, isUp()]).toEqual([[], false]);
    await clock.advance(1);
    expect([typed, isUp()]).toEqual([[freshLine], false]);
    line.say('\r\nlogin: ');
    await coming;
    await end();
  });

  it('R18.2: that says nothing is asked, and has not come up before it answers', async () => {
    const { clock, typed, life, coming, isUp, end } = board();
    await clock.advance(3 * limits.consoleBootQuietMs);
    expect([typed, isUp()]).toEqual([[freshLine], false]);
    life.abort();
    await expect(coming).rejects.toMatchObject({ code: 'aborted' });
    await end();
  });

  it('whose console ends has not come up', async () => {
    const { coming, end } = board();
    await end();
    await expect(coming).rejects.toMatchObject({ code: 'connection-failed' });
  });
});
