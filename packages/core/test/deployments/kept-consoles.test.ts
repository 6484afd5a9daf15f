import { BringupError } from '@bringup/core';
import { fakeClock, MemoryLine } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { KeptConsoles } from '../../src/deployments/kept-consoles.ts';

describe('the console of a board that a piece of work lets go of', () => {
  it.each([
    ['goes on to whoever is next', undefined, true],
    ['goes on when what it was for is over', new Error('it has booted'), true],
    [
      'is closed when another process has the work by now',
      new BringupError('lease-lost', 'boot 1 was taken over'),
      false,
    ],
    ['is closed when the work was cancelled', new BringupError('aborted', 'the deployment was cancelled'), false],
  ])('%s', async (_what, reason, kept) => {
    const line = new MemoryLine('board1');
    await using consoles = new KeptConsoles(fakeClock());
    const work = new AbortController();
    const console = await consoles.take('board1', 'board1', async () => line.open(), { signal: work.signal });
    if (reason !== undefined) work.abort(reason);
    await console[Symbol.asyncDispose]();
    const next = consoles.kept('board1', undefined);
    if (next !== undefined) expect(() => consoles.kept('board1', undefined)).toThrow('held by somebody else');
    expect(next !== undefined).toBe(kept);
    // What is closed is free for other processes.
    if (!kept) await line.open()[Symbol.asyncDispose]();
  });
});
