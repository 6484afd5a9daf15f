import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { limits, localShell, Secret, systemClock, type Clock } from '@bringup/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canary, hidden, leaks } from '../../../test/fixtures/canaries.ts';
import * as api from '../src/index.ts';
import type { HttpAccess, PduDriver, SnmpAccess } from '../src/index.ts';

const http = { on: { path: '/on' }, off: { path: '/off' }, state: { path: '/is', on: /on/, off: /off/ } } as const;
const oid = '1.3.6.1.4.1.9.{outlet}';
const values = { oid, on: 1, off: 2 };
const outletOf: Readonly<Record<string, string>> = { redfish: 'System.1' };

/** The devices that are switched over HTTP, and over SNMP: all that there are. */
const overHttp: Readonly<Record<string, (access: HttpAccess) => PduDriver>> = {
  netio: api.netio,
  gude: api.gude,
  tasmota: api.tasmota,
  shellyGen1: api.shellyGen1,
  shellyGen2: ({ host, password }) => api.shellyGen2({ host, ...(password && { password }) }),
  redfish: (access) => api.redfish({ ...access, https: false }),
  pdudaemon: (access) => api.pdudaemon({ ...access, hostname: 'pdu' }),
  httpPower: (access) =>
    api.httpPower({ ...access, ...http, headers: { 'x-token': hidden('HttpPowerOptions.headers') } }),
};
const overSnmp: Readonly<Record<string, (access: SnmpAccess) => PduDriver>> = {
  apc: api.apc,
  raritan: api.raritan,
  eaton: api.eaton,
  serverTechnology: api.serverTechnology,
  cyberPower: api.cyberPower,
  poeSwitch: api.poeSwitch,
  snmpPdu: (access) => api.snmpPdu({ ...access, control: values, status: values }),
};
const byCommand = ['ipmi', 'commandPower', 'uhubctl', 'gpio', 'usbRelay'];

/** Nobody waits for what does not come. */
const clock: Clock = {
  now: () => systemClock.now(),
  timer: (delayMs, fire, options) =>
    systemClock.timer(delayMs === limits.pduRequestMs ? 40 : delayMs === limits.pduPollMs ? 2 : delayMs, fire, options),
};

/** Everything that comes out of a device when it is switched and asked: values, errors, and what it looks like itself. */
async function told(driver: PduDriver, outlet: string): Promise<Record<string, unknown>> {
  await using connector = api.pdu({ devices: { one: driver }, clock, settleMs: 20 });
  const opening = connector.open({ method: 'network_pdu', pduAddress: 'one', pduOutlet: outlet });
  const one = await opening.catch((error: unknown) => error as Error);
  if (one instanceof Error) return { opening: one };
  const outcome = (call: Promise<unknown>): Promise<unknown> => call.catch((error: unknown) => error);
  return { switching: await outcome(one.on()), state: await outcome(one.state()), one, driver, connector };
}

type Server = (request: {
  readonly asked: string;
  readonly isIn: boolean;
}) => readonly [status: number, body: string] | undefined;

const servers: Readonly<Record<string, Server>> = {
  'does not answer': () => undefined,
  'refuses the login': () => [401, ''],
  'forbids it': () => [403, ''],
  'repeats what it is asked with an error': ({ asked, isIn }) => (isIn ? [500, asked] : [401, '']),
  'repeats what it is asked as if that were an answer': ({ asked, isIn }) => (isIn ? [200, asked] : [401, '']),
  'repeats it in the fields that are read': ({ asked, isIn }) =>
    isIn
      ? [
          200,
          JSON.stringify({
            error: { code: 1, message: asked },
            PowerState: asked,
            Outputs: [{ ID: 1, State: asked }],
            WARNING: asked,
            Actions: { '#ComputerSystem.Reset': { target: '/x', 'ResetType@Redfish.AllowableValues': [asked] } },
          }),
        ]
      : [401, ''],
  'sends it elsewhere': ({ isIn }) => (isIn ? [302, ''] : [401, '']),
  'does not know it': ({ isIn }) => (isIn ? [404, ''] : [401, '']),
};

async function serve(answer: Server, challenge: string): Promise<AsyncDisposable & { host: string; asked: string[] }> {
  const asked: string[] = [];
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const all = `${request.url} ${JSON.stringify(request.headers)} ${await text(request)}`;
    asked.push(all);
    const [status, body] = answer({ asked: all, isIn: request.headers.authorization !== undefined }) ?? [];
    if (status === undefined) return;
    const headers = { 'www-authenticate': challenge, location: `http://127.0.0.1:1/?${encodeURIComponent(all)}` };
    response.writeHead(status, headers).end(body);
  };
  const server = createServer((request, response) => void respond(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

describe('no credential of a device shows', () => {
  it('because all devices that there are have been looked at', () => {
    const helpers = ['pdu', 'httpClient', 'namedOutlets', 'numberedOutlets'];
    const known = [...Object.keys(overHttp), ...Object.keys(overSnmp), ...byCommand, ...helpers];
    expect(Object.keys(api).toSorted()).toEqual(known.toSorted());
  });

  describe.each(Object.entries(servers))('when an HTTP server %s', (_, answer) => {
    it.each(Object.entries(overHttp))('%s', async (kind, driver) => {
      for (const challenge of ['Basic realm="x"', 'Digest realm="x", nonce="n", qop="auth"', 'Negotiate']) {
        await using server = await serve(answer, challenge);
        const access = { host: server.host, username: 'lab', password: hidden('HttpAccess.password') };
        expect(leaks(await told(driver(access), outletOf[kind] ?? '1'))).toEqual([]);
        expect(server.asked.length).toBeGreaterThan(0);
      }
    });
  });

  it.each(Object.entries(overHttp))('when nothing listens: %s', async (kind, driver) => {
    const access = { host: '127.0.0.1:1', username: 'lab', password: hidden('HttpAccess.password') };
    expect(leaks(await told(driver(access), outletOf[kind] ?? '1'))).toEqual([]);
  });

  it('when a token is no header, or a password in a path is not taken', async () => {
    const broken = new Secret(`${canary('HttpPowerOptions.headers')}\nx: y`);
    const driver = api.httpPower({ host: '127.0.0.1:1', ...http, headers: { 'x-token': broken } });
    expect(leaks(await told(driver, '1'))).toEqual([]);
    await using server = await serve(() => [500, 'no'], 'Basic');
    const path = `/set?password=${canary('HttpAccess.password')}`;
    expect(leaks(await told(api.httpPower({ host: server.host, on: { path }, off: { path } }), '1'))).toEqual([]);
  });

  const users = {
    v1: { version: 'v1', community: hidden('SnmpCommunity.community') },
    v2c: { version: 'v2c', community: hidden('SnmpCommunity.community') },
    v3: {
      version: 'v3',
      username: 'lab',
      authPassword: hidden('SnmpUser.authPassword'),
      privPassword: hidden('SnmpUser.privPassword'),
    },
  } as const;
  const agents: Readonly<Record<string, (message: Buffer) => Buffer | undefined>> = {
    'does not answer': () => undefined,
    'repeats what it is asked': (message) => message,
    'repeats half of it': (message) => message.subarray(0, message.length / 2),
    'says it in another order': (message) => Buffer.from(message).reverse(),
    // In SNMPv1 and v2c the PDU's tag follows the community: 0xa2 makes a response of a request.
    'answers with what it was asked': (message) => {
      const answer = Buffer.from(message);
      const at = answer.findIndex((byte) => byte === 0xa0 || byte === 0xa3);
      if (at !== -1) answer[at] = 0xa2;
      return answer;
    },
  };
  describe.each(Object.entries(agents))('when an SNMP agent %s', (_, answer) => {
    it.each(Object.entries(overSnmp))('%s', async (kind, driver) => {
      const socket = createSocket('udp4').bind(0, '127.0.0.1');
      await once(socket, 'listening');
      let heard = 0;
      socket.on('message', (message, { port }) => {
        heard += 1;
        const said = answer(message);
        if (said !== undefined) socket.send(said, port, '127.0.0.1');
      });
      try {
        for (const snmp of Object.values(users)) {
          const access = { host: `127.0.0.1:${socket.address().port}`, snmp, resendMs: 10 };
          expect(leaks(await told(driver(access), outletOf[kind] ?? '1'))).toEqual([]);
        }
      } finally {
        socket.close();
      }
      expect(heard).toBeGreaterThan(2);
    });
  });

  describe('to or from a command', () => {
    let folder: string;
    const path = process.env['PATH'];
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'bringup-canary-'));
      process.env['PATH'] = `${folder}:${path}`;
    });
    afterAll(async () => {
      process.env['PATH'] = path;
      await rm(folder, { recursive: true });
    });

    it.each([
      'printenv IPMI_PASSWORD >&2; exit 1',
      'printenv; exit 0',
      'cat /proc/$$/cmdline | tr "\\0" " "; kill -9 $$',
    ])('ipmitool that does %j', async (script) => {
      await writeFile(join(folder, 'ipmitool'), `#!/bin/sh\n${script}\n`);
      await chmod(join(folder, 'ipmitool'), 0o755);
      await using shell = localShell();
      const driver = api.ipmi({ shell, host: '127.0.0.1', username: 'lab', password: hidden('IpmiOptions.password') });
      expect(leaks(await told(driver, 'chassis'))).toEqual([]);
    });

    it.each(['cat; exit 0', 'cat >&2; exit 1', 'cat; kill -9 $$', 'head -c 5; exit 127', 'exec /nowhere'])(
      'any other that does %j',
      async (script) => {
        await using shell = localShell();
        const argv = ['sh', '-c', script];
        const stdin = hidden('CommandPowerOptions.stdin');
        const driver = api.commandPower({ shell, on: argv, off: argv, state: { argv, on: /on/, off: /off/ }, stdin });
        expect(leaks(await told(driver, '1'))).toEqual([]);
      },
    );
  });
});
