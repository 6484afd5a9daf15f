import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { localShell, Secret } from '@bringup/core';
import type { Hypervisor, ShellSession } from '@bringup/core';
import { ConsoleReader, tinyGuest, tinyGuestImage } from '@bringup/core/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../../test/fixtures/certificates.ts';
import type { Authority, Certificate } from '../../../../test/fixtures/certificates.ts';
import { startLibvirtd } from '../../../../test/fixtures/libvirtd.ts';
import type { LibvirtdFixture } from '../../../../test/fixtures/libvirtd.ts';
import { libvirt } from '../../src/index.ts';
import type { LibvirtOptions, LibvirtTls } from '../../src/index.ts';
import { freePort } from '../../../../test/fixtures/ports.ts';

const host = { hostname: 'localhost', address: '127.0.0.1', username: 'root' };
const scratch = await mkdtemp(join(tmpdir(), 'bringup-libvirt-network-'));
const shells = localShell();
let authority: Authority;
let stranger: Authority;
let server: Certificate;
let client: Certificate;
let shell: ShellSession;

beforeAll(async () => {
  authority = await makeAuthority(scratch, 'authority');
  stranger = await makeAuthority(scratch, 'stranger');
  [server, client] = [await authority.sign('daemon', 'DNS:localhost'), await authority.sign('lab')];
  shell = await shells.connect(host);
});
afterAll(async () => {
  await shells[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true });
});

const tlsConfig = (port: number): string => `
listen_tls = 1
listen_addr = "127.0.0.1"
tls_port = "${port}"
ca_file = "${authority.certificateFile}"
cert_file = "${server.certificateFile}"
key_file = "${server.keyFile}"
`;

/** Connects, calls once and says goodbye; with more to do there, that. */
async function visit(options: LibvirtOptions, workspace: string, more?: (hypervisor: Hypervisor) => Promise<void>) {
  await using connector = libvirt(options);
  await using hypervisor = await connector.connect({ host, workspace }, shell);
  await hypervisor.listVms();
  await more?.(hypervisor);
}

const refusedAs = (code: string, reason?: string) =>
  expect.objectContaining({ code, ...(reason !== undefined && { details: expect.objectContaining({ reason }) }) });

describe('a libvirtd that listens on the network', () => {
  let daemon: LibvirtdFixture;
  let ports: { readonly tls: number; readonly tcp: number };
  let tls: LibvirtTls;
  beforeAll(async () => {
    ports = { tls: await freePort(), tcp: await freePort() };
    const tcp = `listen_tcp = 1\ntcp_port = "${ports.tcp}"\nauth_tcp = "none"\n`;
    daemon = await startLibvirtd({ listen: true, config: tlsConfig(ports.tls) + tcp });
    const { certificate, key } = client;
    tls = { ca: authority.certificate, certificate, key: new Secret(key), port: ports.tls };
  });
  afterAll(() => daemon[Symbol.asyncDispose]());

  test('is spoken to over TLS, consoles included', async () => {
    const kernel = join(daemon.workspace, 'kernel');
    await writeFile(kernel, tinyGuestImage());
    await visit({ tls }, join(daemon.workspace, 'vms'), async (hypervisor) => {
      const machine = { architecture: 'x86_64', cpus: 1, memoryMb: 32, accelerator: 'tcg' } as const;
      await hypervisor.createVm({ ...machine, name: 'secure', kernel, commandLine: 'over=tls', tags: {} });
      const reader = new ConsoleReader(await hypervisor.openConsole('secure'));
      await hypervisor.startVm('secure');
      expect(await reader.until('over=tls\r\n')).toContain(tinyGuest.greeting);
      await hypervisor.destroyVm('secure');
    });
  });

  test('is not believed with a certificate of an authority that is not ours', async () => {
    await expect(visit({ tls: { ...tls, ca: stranger.certificate } }, scratch)).rejects.toEqual(
      refusedAs('authentication-failed', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'),
    );
  });

  test('is not believed under a name that is not in its certificate', async () => {
    await expect(visit({ tls: { ...tls, serverName: 'elsewhere.example' } }, scratch)).rejects.toEqual(
      refusedAs('authentication-failed', 'ERR_TLS_CERT_ALTNAME_INVALID'),
    );
  });

  test('refuses us without a certificate, and with one of a stranger', async () => {
    const { ca, port } = tls;
    await expect(visit({ tls: { ca, port: port ?? 0 } }, scratch)).rejects.toEqual(refusedAs('authentication-failed'));
    const own = await stranger.sign('nobody');
    const wrong = { ...tls, certificate: own.certificate, key: new Secret(own.key) };
    await expect(visit({ tls: wrong }, scratch)).rejects.toEqual(refusedAs('authentication-failed'));
  });

  test('is spoken to in the open only by that name', async () => {
    await visit({ unencryptedTcp: { port: ports.tcp } }, scratch);
    // TLS to the port that speaks in the open ends, and never falls back to it.
    await expect(visit({ tls: { ...tls, port: ports.tcp } }, scratch)).rejects.toMatchObject({
      code: 'connection-failed',
    });
  });
});

describe('a libvirtd that wants SASL', () => {
  const password = 'a pässword, =with= commas';
  test.for(['SCRAM-SHA-256', 'SCRAM-SHA-512', 'PLAIN'])(
    'lets an account in by %s, over TLS and over its socket',
    async (mechanisms) => {
      const port = await freePort();
      const sasl = { mechanisms, accounts: { lab: password } };
      const config = `${tlsConfig(port)}auth_tls = "sasl"\n`;
      await using daemon = await startLibvirtd({ listen: true, sasl, config });
      const { certificate, key } = client;
      const tls = { ca: authority.certificate, certificate, key: new Secret(key), port };
      const account = { username: 'lab', password: new Secret(password) };
      for (const way of [{ tls }, { socketPath: daemon.socketPath }]) {
        await visit({ ...way, sasl: account }, scratch);
        const wrong = { ...account, password: new Secret('guessed') };
        await expect(visit({ ...way, sasl: wrong }, scratch)).rejects.toEqual(refusedAs('authentication-failed'));
        await expect(visit(way, scratch)).rejects.toThrow('give the connector an account');
      }
    },
  );
});

describe('something that is no libvirtd', () => {
  const withTls = (): LibvirtOptions => ({
    tls: { ca: authority.certificate, port: (listening.address() as AddressInfo).port },
  });
  let listening: Server;
  const listen = async (onConnection: (socket: NodeJS.WritableStream) => void): Promise<void> => {
    listening = createTlsServer({ cert: server.certificate, key: server.key }, onConnection).listen(0, '127.0.0.1');
    await once(listening, 'listening');
  };

  test('says no after the handshake: that is what we are told', async () => {
    await listen((socket) => void socket.end(Buffer.from([0])));
    await expect(visit(withTls(), scratch)).rejects.toEqual(refusedAs('authentication-failed'));
    listening.close();
  });

  test('says nothing after the handshake: the connection ends at its deadline', async () => {
    await listen(() => {});
    await using connector = libvirt(withTls());
    await expect(connector.connect({ host, workspace: scratch }, shell, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
    listening.close();
  });
});
