import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { Secret, type ShellTarget } from '@bringup/core';
import ssh2 from 'ssh2';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startTcpProxy } from '../../../test/fixtures/tcp-proxy.ts';
import { ssh, type SshOptions } from '../src/index.ts';

interface Server extends AsyncDisposable {
  readonly target: ShellTarget & { readonly port: number };
  readonly options: SshOptions;
  /** Sockets of its connections. */
  readonly sockets: readonly Socket[];
}

/** An SSH server in this process that lets everybody in. */
async function startServer(onAuthentication: (context: { accept(): void }) => void): Promise<Server> {
  const hostKey = ssh2.utils.generateKeyPairSync('ed25519');
  const sockets: Socket[] = [];
  const sshd = new ssh2.Server({ hostKeys: [hostKey.private] }, (client) => {
    client.on('error', () => undefined);
    client.on('authentication', onAuthentication);
  });
  const server = createServer((incoming) => {
    sockets.push(incoming);
    sshd.injectSocket(incoming);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    target: {
      hostname: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      username: 'nobody',
      password: new Secret('secret'),
    },
    options: { fingerprints: { '127.0.0.1': [fingerprintOf(hostKey.public)] }, agent: null, configFiles: [] },
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

test('a server that hangs up in the middle of the login has refused nothing: connecting again may help', async () => {
  await using server: Server = await startServer(() => server.sockets[0]?.destroy());
  await using connector = ssh(pinned(server, server.target.port));
  await expect(connector.connect(server.target)).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
});

describe('a connection whose other side says nothing any more', () => {
  afterEach(() => vi.useRealTimers());

  test.each([1, 3])('is lost after interval × count, not before and not later (count %i)', async (keepaliveCount) => {
    await using server = await startServer((context) => context.accept());
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

function pinned({ options }: Server, port: number): SshOptions {
  return { ...options, fingerprints: { [`[127.0.0.1]:${port}`]: options.fingerprints?.['127.0.0.1'] ?? [] } };
}

/** As OpenSSH writes it: SHA256: and unpadded base 64. */
function fingerprintOf(publicKey: string): string {
  const bytes = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(bytes).digest('base64').replace(/=+$/, '')}`;
}
