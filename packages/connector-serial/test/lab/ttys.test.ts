import { localShell, type ConsoleConnector } from '@bringup/core';
import { consoleContract, ConsoleReader, type ConsoleContractFixture } from '@bringup/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serial } from '../../src/index.ts';
import { TtyPair } from '../support/tty-pair.ts';

async function fixture(connector: ConsoleConnector, device: (tty: string) => string): Promise<ConsoleContractFixture> {
  const pair = await TtyPair.make();
  const target = { name: 'board1', device: device(pair.ours), baudRate: 115_200 };
  return {
    open: (options) => connector.open(target, options),
    say: (bytes) => pair.say(bytes),
    received: (count) => pair.until(count),
    cut: () => pair.cut(),
    dispose: async () => {
      await connector[Symbol.asyncDispose]();
      await pair[Symbol.asyncDispose]();
    },
  };
}

const exporters = { here: { connector: localShell(), target: { hostname: 'localhost', username: 'root' } } };

consoleContract({ name: 'a tty of this machine', setup: () => fixture(serial(), (tty) => tty) });
consoleContract({
  name: 'a tty of an exporter',
  setup: () => fixture(serial({ exporters }), (tty) => `exporter://here${tty}`),
});

describe('a tty that somebody else holds', () => {
  let pair: TtyPair;
  beforeAll(async () => {
    pair = await TtyPair.make();
  });
  afterAll(() => pair[Symbol.asyncDispose]());

  it.each(['', 'exporter://here'])('is busy, and its holder goes on (%s)', async (prefix) => {
    await using holders = serial({ exporters });
    await using others = serial({ exporters });
    const target = { name: 'board1', device: prefix + pair.ours, baudRate: 115_200 };
    const holder = new ConsoleReader(await holders.open(target));
    await expect(others.open(target)).rejects.toMatchObject({ code: 'console-busy', retryable: true });
    await pair.say(Buffer.from('still here'));
    await holder.until('still here');
  });

  it('that is not there is not found', async () => {
    await using connector = serial({ exporters });
    const target = { name: 'board1', device: 'exporter://here/dev/no-such-tty', baudRate: 115_200 };
    await expect(connector.open(target)).rejects.toMatchObject({ code: 'not-found' });
  });
});
