import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { generateKeyPairSync } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { localShell, Secret, systemClock, type Clock } from '@bringup/core';
import { describe, expect, test } from 'vitest';
import { canary, hidden, leaks, useAsCanary } from '../../../test/fixtures/canaries.ts';
import { libvirt, type LibvirtOptions } from '../src/index.ts';
import type { Packet } from '../src/rpc/packet.ts';
import { procedures } from '../src/rpc/procedures.ts';
import { RpcConnection } from '../src/rpc/connection.ts';
import { signIn } from '../src/sign-in.ts';
import { XdrReader, XdrWriter } from '../src/rpc/xdr.ts';
import { FakeDaemon } from './fake-daemon.ts';

const account = { username: 'lab', password: hidden('LibvirtAccount.password') };
const authFailed = 45;

describe('no password of a daemon’s account shows', () => {
  /** Signs in with a daemon that wants one mechanism, and does that with each answer to it. */
  async function told(
    mechanism: string,
    onAnswer: (daemon: FakeDaemon, call: Packet, heard: string) => Uint8Array | undefined,
  ): Promise<Record<string, unknown>> {
    const daemon = new FakeDaemon();
    daemon.serve((call) => {
      if (call.procedure === procedures.authList) return new XdrWriter().u32(1).i32(1).bytes();
      if (call.procedure === procedures.authSaslInit) return new XdrWriter().string(mechanism).bytes();
      const reader = new XdrReader(call.payload);
      if (call.procedure === procedures.authSaslStart) reader.string();
      else if (call.procedure !== procedures.authSaslStep) return new Uint8Array();
      reader.i32();
      return onAnswer(daemon, call, Buffer.from(reader.array(65_536, () => reader.i32())).toString());
    });
    await using connection = new RpcConnection(daemon.client, { clock: systemClock, peer: 'libvirt on testhost' });
    try {
      const result = await signIn(connection, { account, confidential: true }).catch((error: unknown) => error);
      return { result, connection };
    } finally {
      daemon.close();
    }
  }
  const data = (ended: boolean, text: string): Uint8Array => {
    const writer = new XdrWriter().i32(ended ? 1 : 0).i32(0);
    return writer.array([...Buffer.from(text)], (byte) => writer.i32(byte)).bytes();
  };
  const daemons: Readonly<Record<string, Parameters<typeof told>[1]>> = {
    'takes it': () => data(true, ''),
    'never comes to an end and repeats it': (_, __, heard) => data(false, heard),
    'refuses it and repeats it': (daemon, call, heard) => {
      daemon.refuse(call, authFailed, `no: ${heard}`);
      return undefined;
    },
    'has an error of another kind and repeats it': (daemon, call, heard) => {
      daemon.refuse(call, 1, `no: ${heard}`);
      return undefined;
    },
    'answers nonsense': () => Buffer.from('nonsense'),
    'says an error of SCRAM': (_, __, heard) => data(false, `e=${heard}`),
    'hangs up': (daemon) => {
      daemon.close();
      return undefined;
    },
  };
  test.for(
    ['PLAIN', 'SCRAM-SHA-256'].flatMap((mechanism) => Object.keys(daemons).map((what) => [mechanism, what] as const)),
  )('by %s to one that %s', async ([mechanism, what]) => {
    let heard = '';
    const out = await told(mechanism, (daemon, call, words) => {
      heard += words;
      return daemons[what]?.(daemon, call, words);
    });
    expect(leaks(out)).toEqual([]);
    expect(heard).toContain(mechanism === 'PLAIN' ? canary('LibvirtAccount.password') : 'n=lab');
  });
});

describe('neither a TLS key nor an account shows', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  // A line from the middle of the key; its first ones are the same in all keys of a kind.
  useAsCanary('LibvirtTls.key', pem.split('\n')[2] ?? '');
  const [ca = ''] = rootCertificates;
  const impatient: Clock = {
    now: () => systemClock.now(),
    timer: (delayMs, fire, options) => systemClock.timer(Math.min(delayMs, 250), fire, options),
  };

  async function connecting(options: LibvirtOptions): Promise<Record<string, unknown>> {
    await using shells = localShell();
    await using shell = await shells.connect({ hostname: 'localhost', username: 'lab' });
    await using connector = libvirt({ ...options, clock: impatient });
    const host = { hostname: 'localhost', address: '127.0.0.1', username: 'lab' };
    const result = await connector.connect({ host, workspace: '/nowhere' }, shell).catch((error: unknown) => error);
    return { result, connector, options };
  }

  const listeners: Readonly<Record<string, (socket: Socket) => unknown>> = {
    'says nothing': () => undefined,
    'speaks no TLS': (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    'repeats everything': (socket) => socket.pipe(socket),
    'hangs up': (socket) => socket.destroy(),
  };
  test.for(Object.entries(listeners))('to what %s', async ([, onConnection]) => {
    const server = createServer((socket) => onConnection(socket.on('error', () => {}))).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const keys = [pem, pem.replace('A', '?'), pem.slice(0, -60), `${pem.split('\n')[2]}`];
    try {
      for (const key of keys) {
        const tls = { ca, certificate: ca, key: new Secret(key), port };
        expect(leaks(await connecting({ tls, sasl: account }))).toEqual([]);
        expect(leaks(await connecting({ tls: { ca, key: new Secret(key), port }, sasl: account }))).toEqual([]);
      }
    } finally {
      server.close();
    }
  });

  test('where there is no socket', async () => {
    expect(leaks(await connecting({ socketPath: '/nowhere', sasl: account }))).toEqual([]);
  });
});
