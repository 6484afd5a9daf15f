import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { rootCertificates } from 'node:tls';
import { Secret } from '@bringup/core';
import { afterEach, describe, expect, test } from 'vitest';
import { openTls, openUnencryptedTcp } from '../src/direct.ts';
import { libvirt } from '../src/index.ts';

const host = { hostname: 'localhost', address: '127.0.0.1', username: 'lab' };
const [ca = ''] = rootCertificates;
let server: Server;

async function listen(onConnection: (socket: Socket) => void): Promise<number> {
  server = createServer((socket) => onConnection(socket.on('error', () => {}))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

afterEach(() => void server.close());

describe('the network port of a daemon', () => {
  test('is connected to in the open only when that is asked for by name', async () => {
    const port = await listen((socket) => socket.end('hello'));
    const socket = await openUnencryptedTcp(host, { port }, {});
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    socket.destroy();
  });

  test('that speaks no TLS is a failed connection, and nothing readable was sent to it', async () => {
    const heard: Buffer[] = [];
    const port = await listen((socket) => {
      socket.once('data', (bytes: Buffer) => {
        heard.push(bytes);
        socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
      });
    });
    await expect(openTls(host, { ca, port }, {})).rejects.toMatchObject({ code: 'connection-failed' });
    // The record type of a TLS handshake.
    expect(heard[0]?.[0]).toBe(0x16);
  });

  test('that nobody listens on is a failed connection worth another try', async () => {
    const port = await listen(() => {});
    server.close();
    await once(server, 'close');
    for (const open of [openTls(host, { ca, port }, {}), openUnencryptedTcp(host, { port }, {})]) {
      await expect(open).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
    }
  });

  test('that says nothing is left when the caller gives up', async () => {
    const left = Promise.withResolvers<void>();
    const port = await listen((socket) => void socket.once('close', () => left.resolve()).resume());
    const controller = new AbortController();
    server.once('connection', () => controller.abort());
    const { signal } = controller;
    await expect(openTls(host, { ca, port }, { signal })).rejects.toMatchObject({ code: 'aborted' });
    await left.promise;
  });

  test('believes nobody when no authority is named', async () => {
    await listen(() => {});
    for (const none of ['', ' ', 'no PEM']) {
      await expect(openTls(host, { ca: none }, {})).rejects.toMatchObject({ code: 'invalid-input' });
    }
  });

  test('with a key that is none is a mistake that names the option, and not the key', async () => {
    await listen(() => {});
    const tls = { ca, certificate: 'no PEM', key: new Secret('not a key') };
    const refused = openTls(host, tls, {});
    await expect(refused).rejects.toMatchObject({ code: 'invalid-input' });
    await expect(refused).rejects.not.toThrow('not a key');
  });

  test('is one way, and an account is not sent over an open line', async () => {
    await listen(() => {});
    expect(() => libvirt({ tls: { ca }, socketPath: '/s' })).toThrow(TypeError);
    expect(() => libvirt({ tls: { ca }, unencryptedTcp: {} })).toThrow(TypeError);
    const sasl = { username: 'lab', password: new Secret('x') };
    expect(() => libvirt({ unencryptedTcp: {}, sasl })).toThrow(TypeError);
  });
});
