import { afterEach, describe, expect, test, vi } from 'vitest';
import { startTcpProxy } from '../../../test/fixtures/tcp-proxy.ts';
import { ssh, type SshOptions } from '../src/index.ts';
import { sshServer, type TestServer } from './support/ssh-server.ts';

test('a server that hangs up in the middle of the login has refused nothing: connecting again may help', async () => {
  await using server: TestServer = await sshServer({ onAuthentication: () => server.sockets[0]?.destroy() });
  await using connector = ssh(pinned(server, server.target.port));
  await expect(connector.connect(server.target)).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
});

describe('a connection whose other side says nothing any more', () => {
  afterEach(() => vi.useRealTimers());

  test.each([1, 3])('is lost after interval × count, not before and not later (count %i)', async (keepaliveCount) => {
    await using server = await sshServer();
    await using proxy = await startTcpProxy(server.target.port);
    await using connector = ssh({ ...pinned(server, proxy.port), keepaliveIntervalMs: 6_000, keepaliveCount });
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const session = await connector.connect({ ...server.target, port: proxy.port });
    let lost = false;
    void session.closed.then(() => {
      lost = true;
    });
    proxy.goBlack();
    const later = Promise.withResolvers<void>();
    await vi.advanceTimersByTimeAsync(6_000 * keepaliveCount - 1);
    setImmediate(later.resolve);
    await later.promise;
    expect(lost).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await session.closed).toMatchObject({ code: 'connection-lost' });
  });
});

/** The options for a way to the server that has another port. */
function pinned({ options, target }: TestServer, port: number): SshOptions {
  return {
    ...options,
    fingerprints: { [`[127.0.0.1]:${port}`]: options.fingerprints?.[`[127.0.0.1]:${target.port}`] ?? [] },
  };
}
