import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { consoleContract, ConsoleReader, type ConsoleContractFixture } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { serial } from '../../src/index.ts';
import { TtyPair } from '../support/tty-pair.ts';
import { answers, freePort } from '../../../../test/fixtures/ports.ts';

/** A real ser2net with one tty behind it; `rfc2217` and `telnet` are telnet, `tcp` is raw. */
async function ser2net(scheme: 'rfc2217' | 'telnet' | 'tcp') {
  const pair = await TtyPair.make();
  const port = await freePort();
  const accepter = { rfc2217: 'telnet(rfc2217),tcp', telnet: 'telnet,tcp', tcp: 'tcp' }[scheme];
  const config = `${pair.ours}.yaml`;
  await writeFile(
    config,
    `connection: &board\n  accepter: ${accepter},127.0.0.1,${port}\n  connector: serialdev,${pair.ours},115200n81,local\n`,
  );
  const daemon = spawn('ser2net', ['-n', '-d', '-u', '-c', config, '-P', `${pair.ours}.pid`], { stdio: 'ignore' });
  const ended = once(daemon, 'exit');
  while (!(await answers(port))) await pause(20);
  return {
    pair,
    target: { name: 'board1', device: `${scheme}://127.0.0.1:${port}`, baudRate: 57_600 },
    kill: () => daemon.kill('SIGKILL'),
    [Symbol.asyncDispose]: async () => {
      daemon.kill('SIGKILL');
      await ended;
      await pair[Symbol.asyncDispose]();
    },
  };
}

async function fixture(scheme: 'rfc2217' | 'telnet' | 'tcp'): Promise<ConsoleContractFixture> {
  const server = await ser2net(scheme);
  const connector = serial();
  const { pair, target } = server;
  return {
    open: async (options) => {
      // ser2net takes a moment to let go of the last one.
      for (;;) {
        try {
          return await connector.open(target, options);
        } catch (error) {
          if (!String(error).includes('it says: Port')) throw error;
          await pause(20);
        }
      }
    },
    say: (bytes) => pair.say(bytes),
    received: (count) => pair.until(count),
    cut: () => void server.kill(),
    dispose: async () => {
      await connector[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

consoleContract({ name: 'RFC 2217 of a real ser2net', setup: () => fixture('rfc2217') });

describe('a real ser2net', () => {
  it('tells a second client that the port is in use', async () => {
    await using server = await ser2net('rfc2217');
    await using mine = serial();
    await using theirs = serial();
    await pause(100);
    const reader = new ConsoleReader(await mine.open(server.target));
    await expect(theirs.open(server.target)).rejects.toMatchObject({ code: 'console-busy', retryable: true });
    await server.pair.say(Buffer.from('still mine'));
    await reader.until('still mine');
  });

  it.each(['telnet', 'tcp'] as const)('is a console over %s too', async (scheme) => {
    await using server = await ser2net(scheme);
    await using connector = serial();
    await pause(100);
    const console = await connector.open(server.target);
    const reader = new ConsoleReader(console);
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await server.pair.say(bytes);
    await server.pair.say(Buffer.from('end'));
    await reader.until('end');
    expect(reader.bytes.subarray(0, 256)).toEqual(Buffer.from(bytes));
    await console.write(bytes);
    expect(await server.pair.until(256)).toEqual(Buffer.from(bytes));
  });
});
