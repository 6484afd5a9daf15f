import { limits } from '@bringup/core';
import { afterEach, describe, expect, it } from 'vitest';
import type { ServerChannel } from 'ssh2';
import { ssh } from '../src/index.ts';
import { sshServer } from './support/ssh-server.ts';

const before = { ...limits };
afterEach(() => void Object.assign(limits, before));

/** A server whose commands end when they are let go. */
async function crowd(options: { readonly channelsPerConnection?: number; readonly connectionsPerTarget?: number }) {
  const channels: ServerChannel[] = [];
  let arrived = Promise.withResolvers<void>();
  const server = await sshServer({
    onCommand: (channel) => {
      channels.push(channel);
      arrived.resolve();
      arrived = Promise.withResolvers();
    },
  });
  const connector = ssh({ ...server.options, ...options });
  const session = await connector.connect(server.target);
  return {
    server,
    session,
    run: () => session.exec(['true']),
    /** Waits until that many run. */
    running: async (count: number) => {
      while (channels.length < count) await arrived.promise;
      return channels.length;
    },
    /** Ends the one that has run longest. */
    end: () => {
      const [channel] = channels.splice(0, 1);
      channel?.exit(0);
      channel?.end();
    },
    [Symbol.asyncDispose]: async () => {
      await session[Symbol.asyncDispose]();
      await connector[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe('commands on one target', () => {
  it('limits.sshWaitingCommands: of them wait for their turn; one more is refused, and may come again', async () => {
    Object.assign(limits, { sshWaitingCommands: 2 });
    await using at = await crowd({ channelsPerConnection: 1, connectionsPerTarget: 1 });
    const calls = [at.run(), at.run(), at.run()];
    await at.running(1);
    await expect(at.run()).rejects.toMatchObject({
      code: 'unavailable',
      retryable: true,
      message: expect.stringContaining('MaxSessions'),
      details: { limit: 2 },
    });
    at.end();
    await at.running(1);
    calls.push(at.run());
    await expect(at.run()).rejects.toMatchObject({ code: 'unavailable' });
    for (const _call of calls.slice(1)) {
      await at.running(1);
      at.end();
    }
    await Promise.all(calls);
  });

  it('limits.sshChannelsPerConnection and limits.sshConnectionsPerTarget: of them run at a time, over that many connections', async () => {
    Object.assign(limits, { sshChannelsPerConnection: 2, sshConnectionsPerTarget: 2 });
    await using at = await crowd({});
    const calls = Array.from({ length: 5 }, () => at.run());
    await at.running(4);
    expect(at.server.sockets).toHaveLength(2);
    at.end();
    // The fifth takes the place of one that ended: it did not get a connection of its own.
    await at.running(4);
    expect(at.server.sockets).toHaveLength(2);
    for (let left = 4; left > 0; left -= 1) at.end();
    await Promise.all(calls);
  });
});
