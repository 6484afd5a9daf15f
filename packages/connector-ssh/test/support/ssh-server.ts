import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { Secret, type ShellTarget } from '@bringup/core';
import ssh2, { type Connection, type ServerChannel } from 'ssh2';
import type { SshOptions } from '../../src/index.ts';

/** An SSH server in this process that lets everybody in, or whatever else listens there. */
export interface TestServer extends AsyncDisposable {
  readonly target: ShellTarget & { readonly port: number };
  /** Options that trust it. */
  readonly options: SshOptions;
  /** Sockets of its connections. */
  readonly sockets: readonly Socket[];
}

/** What an {@link sshServer} does. */
export interface SshServerOptions {
  /** Default: everybody is let in. */
  readonly onAuthentication?: (context: { accept(): void; reject(): void }) => void;
  /** What commands do; without it, channels are never answered. */
  readonly onCommand?: (channel: ServerChannel, command: string) => void;
}

export async function sshServer({ onAuthentication, onCommand }: SshServerOptions = {}): Promise<TestServer> {
  const hostKey = newHostKey();
  const sshd = new ssh2.Server({ hostKeys: [hostKey.private] }, (client: Connection) => {
    client.on('error', () => undefined);
    client.on('authentication', onAuthentication ?? ((context) => context.accept()));
    if (onCommand === undefined) return;
    client.on('session', (accept) => {
      accept().on('exec', (acceptCommand, _reject, { command }) => {
        const channel = acceptCommand();
        channel.on('error', () => undefined);
        onCommand(channel, command);
      });
    });
  });
  return listen((socket) => sshd.injectSocket(socket), fingerprintOf(hostKey.public));
}

/** One key in some hundreds that ssh2 makes it can't read itself. */
function newHostKey(): ReturnType<typeof ssh2.utils.generateKeyPairSync> {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519');
    if (!(ssh2.utils.parseKey(pair.private) instanceof Error)) return pair;
  }
}

/** Something that listens on a port and does what it likes. */
export async function listen(onConnection: (socket: Socket) => void, fingerprint = 'SHA256:none'): Promise<TestServer> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    target: { hostname: '127.0.0.1', port, username: 'nobody', password: new Secret('secret') },
    options: { fingerprints: { [`[127.0.0.1]:${port}`]: [fingerprint] }, agent: null, configFiles: [] },
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** As OpenSSH writes it: SHA256: and unpadded base 64. */
function fingerprintOf(publicKey: string): string {
  const bytes = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(bytes).digest('base64').replace(/=+$/, '')}`;
}
