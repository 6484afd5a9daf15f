import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { Secret } from '@bringup/core';
import ssh2 from 'ssh2';
import { expect, test } from 'vitest';
import { ssh } from '../src/index.ts';

test('a server that hangs up in the middle of the login has refused nothing: connecting again may help', async () => {
  const hostKey = ssh2.utils.generateKeyPairSync('ed25519');
  let socket: Socket | undefined;
  const sshd = new ssh2.Server({ hostKeys: [hostKey.private] }, (client) => {
    client.on('error', () => undefined);
    client.on('authentication', () => socket?.destroy());
  });
  const server = createServer((incoming) => {
    socket = incoming;
    sshd.injectSocket(incoming);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await using connector = ssh({
    fingerprints: { [`[127.0.0.1]:${port}`]: [fingerprintOf(hostKey.public)] },
    agent: null,
  });
  try {
    const target = { hostname: '127.0.0.1', port, username: 'nobody', password: new Secret('secret') };
    await expect(connector.connect(target)).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
  } finally {
    server.close();
  }
});

/** As OpenSSH writes it: SHA256: and unpadded base 64. */
function fingerprintOf(publicKey: string): string {
  const bytes = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(bytes).digest('base64').replace(/=+$/, '')}`;
}
