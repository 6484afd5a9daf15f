import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BringupError, limits, Secret, systemClock } from '@bringup/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerChallenge } from '../src/http/auth.ts';
import { httpClient, type HttpAccess } from '../src/index.ts';
import { NetioDevice } from './fixtures/devices.ts';

const request = { method: 'GET', uri: '/dir/index.html' };

describe('answers to challenges', () => {
  const rfc7616 = (algorithm: string): string =>
    'Digest realm="http-auth@example.org", qop="auth, auth-int", ' +
    `algorithm=${algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", ` +
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';
  const mufasa = { username: 'Mufasa', password: 'Circle of Life' };
  const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';

  // RFC 7616 section 3.9.1
  it.each([
    ['MD5', '8ca523f5e9506fed4657c9700eebdbec'],
    ['SHA-256', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'],
  ])('are those of the RFC for %s', (algorithm, response) => {
    expect(answerChallenge(rfc7616(algorithm), request, mufasa, cnonce)).toContain(`response="${response}"`);
  });

  it('take the best that is offered', () => {
    const both = `Basic realm="x", ${rfc7616('MD5')}, ${rfc7616('SHA-256')}`;
    const answer = answerChallenge(both, request, mufasa, cnonce);
    expect(answer).toContain('algorithm=SHA-256');
    expect(answer).toContain('opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"');
    expect(answerChallenge('Digest realm="x", nonce="y", algorithm=TOKEN, Basic realm="x"', request, mufasa)).toMatch(
      /^Basic /,
    );
  });

  // RFC 2069, which small devices still speak
  it('do without qop where the server has none', () => {
    const login = { username: 'Mufasa', password: 'CircleOfLife' };
    const offer = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"';
    const answer = answerChallenge(offer, request, login);
    expect(answer).toContain('response="1949323746fe6a43ef61f9606e7febea"');
    expect(answer).not.toContain('cnonce');
  });

  it('are Basic where nothing is said, and nothing where neither is offered', () => {
    expect(answerChallenge(undefined, request, mufasa)).toBe(`Basic ${btoa('Mufasa:Circle of Life')}`);
    expect(answerChallenge('Negotiate', request, mufasa)).toBeUndefined();
    expect(answerChallenge('Digest realm="x", nonce="y", qop="auth-int"', request, mufasa)).toBeUndefined();
  });

  it('survive any header', () => {
    for (const header of [',,,', 'Digest', 'Digest realm="', '="', 'a="\\', 'Basic '.repeat(1_000)]) {
      expect(() => answerChallenge(header, request, mufasa)).not.toThrow();
    }
  });
});

describe('a client', () => {
  const call = { signal: new AbortController().signal, clock: systemClock, beforeSending: (): void => undefined };
  let folder: string;
  let tls: { key: string; cert: string };
  let fingerprint: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bringup-tls-'));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const run = promisify(execFile);
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=pdu', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
    ]);
    tls = { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
    const { stdout } = await run('openssl', ['x509', '-in', cert, '-noout', '-fingerprint', '-sha256']);
    fingerprint = stdout.trim().split('=')[1] ?? '';
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const login = { scheme: 'Basic', username: 'netio', password: 'sesame' } as const;
  const status = { path: '/netio.json' };

  it('talks to a device whose certificate is pinned, or vouched for by a given authority', async () => {
    await using device = await new NetioDevice({ tls }).start();
    for (const https of [
      { fingerprint },
      { fingerprint: fingerprint.toLowerCase().replaceAll(':', '') },
      { ca: tls.cert },
    ]) {
      expect(await httpClient({ host: device.host, https }).json(status, call)).toHaveProperty('Outputs');
    }
  });

  it('says nothing to a device with another certificate, and tells its fingerprint', async () => {
    await using device = await new NetioDevice({ tls, login }).start();
    const access = { host: device.host, username: 'netio', password: new Secret('sesame') };
    const ends = (https: HttpAccess['https'] & {}): Promise<unknown> =>
      httpClient({ ...access, https })
        .json(status, call)
        .catch((error: unknown) => error);
    expect(await ends(true)).toMatchObject({ code: 'host-key-unknown', retryable: false, details: { fingerprint } });
    expect(await ends({ fingerprint: '00'.repeat(32) })).toMatchObject({ code: 'host-key-changed', retryable: false });
    expect(device.requests).toEqual([]);
  });

  it('does not know a certificate by another name', async () => {
    await using device = await new NetioDevice({ tls }).start();
    const host = device.host.replace('127.0.0.1', 'localhost');
    await expect(httpClient({ host, https: { ca: tls.cert } }).json(status, call)).rejects.toMatchObject({
      code: 'host-key-unknown',
    });
  });

  it('shows a password only when it is asked for, and then keeps showing it', async () => {
    await using open = await new NetioDevice().start();
    const client = httpClient({ host: open.host, username: 'netio', password: new Secret('sesame') });
    await client.json(status, call);
    expect(open.requests).toHaveLength(1);
    await using closed = await new NetioDevice({ login }).start();
    const other = httpClient({ host: closed.host, username: 'netio', password: new Secret('sesame') });
    await other.json(status, call);
    await other.json(status, call);
    expect(closed.requests).toHaveLength(3);
  });

  it('that has connected too late to send a command sends nothing', async () => {
    await using device = await new NetioDevice({ tls, login }).start();
    const client = httpClient({ host: device.host, https: { fingerprint } });
    const beforeSending = (): never => {
      throw new BringupError('aborted', 'it is too late by now');
    };
    await expect(client.json(status, { ...call, beforeSending })).rejects.toThrow('it is too late by now');
    expect(device.requests).toEqual([]);
  });

  it('takes no more of an answer than it has to', async () => {
    await using device = await new NetioDevice().start();
    device.fault = 'endless';
    await expect(httpClient({ host: device.host }).json(status, call)).rejects.toThrow(
      `more than ${limits.pduAnswerBytes} bytes`,
    );
  });

  it('wants a password when the device does', async () => {
    await using device = await new NetioDevice({ login }).start();
    await expect(httpClient({ host: device.host }).json(status, call)).rejects.toMatchObject({
      code: 'authentication-failed',
      message: expect.stringContaining('give the device one') as string,
    });
  });
});
