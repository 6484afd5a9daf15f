import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createTcpServer, type AddressInfo, type Socket as TcpSocket } from 'node:net';
import { isBringupError, limits, Secret, systemClock, type BringupError, type Clock } from '@bringup/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerChallenge } from '../src/http/auth.ts';
import {
  httpClient,
  httpPower,
  netio,
  pdu,
  redfish,
  shellyGen2,
  snmpPdu,
  tasmota,
  type PduDriver,
} from '../src/index.ts';

const oid = '1.3.6.1.4.1.9.{outlet}';
const values = { oid, on: 1, off: 2 };

/** Time for what never comes is cut short. */
const impatient: Clock = {
  now: () => systemClock.now(),
  timer: (delayMs, fire, options) =>
    systemClock.timer(
      delayMs === limits.pduRequestMs ? 200 : delayMs === limits.pduPollMs ? 2 : delayMs,
      fire,
      options,
    ),
};

/** How switching and asking end: with our own errors, in few words, or a state. */
async function ends(driver: PduDriver, outlet = '1'): Promise<readonly unknown[]> {
  await using connector = pdu({ devices: { one: driver }, clock: impatient, settleMs: 20 });
  const one = await connector.open({ method: 'network_pdu', pduAddress: 'one', pduOutlet: outlet });
  const outcome = (call: Promise<unknown>): Promise<unknown> =>
    call.catch((error: unknown) => {
      expect(isBringupError(error), String((error as Error).stack)).toBe(true);
      expect((error as BringupError).message.length).toBeLessThan(1_000);
      // oxlint-disable-next-line no-control-regex -- a device's words are no commands to a terminal
      expect((error as BringupError).message).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
      return (error as BringupError).code;
    });
  return [await outcome(one.on()), await outcome(one.state())];
}

describe('a hostile HTTP device', () => {
  let answer: (socket: TcpSocket) => unknown;
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => answer(socket));
  });
  let host: string;
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => void server.close());

  /** Writes for as long as the other side takes it. */
  const flood = (socket: TcpSocket, piece: string): void => {
    const bytes = Buffer.from(piece.repeat(Math.ceil(16_384 / piece.length)));
    const more = (): void => void socket.write(bytes, (error) => error ?? (socket.destroyed || setImmediate(more)));
    more();
  };
  const ok = 'HTTP/1.1 200 OK\r\n';
  const hostile: Readonly<Record<string, (socket: TcpSocket) => unknown>> = {
    'says one header without end': (socket) => flood(socket.setNoDelay(), 'x'),
    'has headers without end': (socket) => socket.write(ok, () => flood(socket, 'x-a: b\r\n')),
    'answers without end': (socket) => socket.write(`${ok}\r\n`, () => flood(socket, '{"a":')),
    'answers in pieces without end': (socket) =>
      socket.write(`${ok}transfer-encoding: chunked\r\n\r\n`, () => flood(socket, '1\r\nx\r\n')),
    'says to go on without end': (socket) => flood(socket, 'HTTP/1.1 100 Continue\r\n\r\n'),
    'answers with a byte now and then': (socket) => {
      socket.write(`${ok}content-length: 100000\r\n\r\n`);
      const drip = setInterval(() => socket.write('x'), 10);
      socket.on('close', () => clearInterval(drip));
    },
    'promises more than there is': (socket) => socket.end(`${ok}content-length: 99999999999\r\n\r\n{}`),
    'has two lengths': (socket) => socket.end(`${ok}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`),
    'speaks another protocol after all': (socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello'),
    'nests deeper than anybody reads': (socket) => socket.end(`${ok}\r\n${'['.repeat(200_000)}`),
    'has numbers beyond all bounds': (socket) =>
      socket.end(
        `${ok}\r\n{"Outputs":[{"ID":1e999,"State":1e999}],"POWER1":1e999,"PowerState":1e999,"result":{"output":1e999}}`,
      ),
    'wants a login without end': (socket) =>
      socket.end('HTTP/1.1 401 No\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n'),
    'has a challenge of nothing but spaces': (socket) =>
      socket.end(`HTTP/1.1 401 No\r\nwww-authenticate: a${' '.repeat(15_000)};\r\ncontent-length: 0\r\n\r\n`),
    'sends elsewhere': (socket) =>
      socket.end('HTTP/1.1 307 No\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n'),
  };
  const access = (): { host: string; username: string; password: Secret } => ({
    host,
    username: 'lab',
    password: new Secret('sesame'),
  });
  const drivers: Readonly<Record<string, () => PduDriver>> = {
    netio: () => netio(access()),
    tasmota: () => tasmota(access()),
    shellyGen2: () => shellyGen2({ host, password: new Secret('sesame') }),
    redfish: () => redfish({ ...access(), https: false }),
    httpPower: () =>
      httpPower({ ...access(), on: { path: '/' }, off: { path: '/' }, state: { path: '/', on: /x/, off: /y/ } }),
  };

  describe.each(Object.entries(hostile))('that %s', (_, act) => {
    it.each(Object.entries(drivers))('is answered with a typed error, or no state, by %s', async (_kind, driver) => {
      answer = act;
      for (const end of await ends(driver())) expect(['off', 'on']).not.toContain(end);
    });
  });

  it('that says anything ends in a typed error', async () => {
    const piece = fc.constantFrom(
      ...[
        '{',
        '}',
        '[',
        ']',
        '"',
        ':',
        ',',
        '"Outputs"',
        '"ID"',
        '1',
        '"State"',
        '"POWER"',
        '"ON"',
        'null',
        '-1',
        '1e999',
        '"error"',
      ],
      ...[
        '"message"',
        '"code"',
        '\u001b[2J',
        '\0',
        '"PowerState"',
        '"Actions"',
        '"#ComputerSystem.Reset"',
        '"target"',
        '"/\\r\\nx: y"',
        '"__proto__"',
      ],
    );
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 200, max: 599 }),
        fc.array(piece, { maxLength: 14 }),
        async (status, parts) => {
          answer = (socket) => socket.end(`HTTP/1.1 ${status} X\r\nconnection: close\r\n\r\n${parts.join('')}`);
          for (const driver of Object.values(drivers)) await ends(driver());
        },
      ),
      { numRuns: 100 },
    );
  });

  it('that names a path with line breaks gets no request of its own making', async () => {
    const heard: string[] = [];
    const system = {
      PowerState: 'Off',
      Actions: { '#ComputerSystem.Reset': { target: '/x HTTP/1.1\r\nhost: evil\r\n\r\nGET /y' } },
    };
    answer = (socket) => socket.end(`${ok}\r\n${JSON.stringify(system)}`);
    server.on('connection', (socket: TcpSocket) => socket.on('data', (bytes) => heard.push(String(bytes))));
    await ends(redfish({ host, https: false }));
    expect(heard.length).toBeGreaterThan(0);
    expect(heard.join('')).not.toContain('evil');
    server.removeAllListeners('connection').on('connection', (socket: TcpSocket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => answer(socket));
    });
  });

  it('quotes nothing but a line', async () => {
    const client = httpClient(access());
    const words = `no\r\n\u001b[2J sesame ${Buffer.from('lab:sesame').toString('base64')} ${'x'.repeat(100_000)}`;
    expect(client.quote(words)).toMatch(/^no {1,2}\[2J \[secret\] \[secret\] x{1,200}$/);
  });
});

describe('a challenge of any length', () => {
  it.each(['a ', ' ', ',', '\t,', 'a=', 'a="', 'a="\\', 'Digest '])(
    'made of %j is judged in time that grows with it',
    (piece) => {
      const login = { username: 'lab', password: 'sesame' };
      const header = piece.repeat(200_000 / piece.length);
      expect(() => answerChallenge(header, { method: 'GET', uri: '/' }, login)).not.toThrow();
    },
  );
});

describe('a hostile SNMP agent', () => {
  let agent: Socket;
  let answer: (message: Buffer) => Buffer | readonly Buffer[];
  beforeAll(async () => {
    agent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(agent, 'listening');
    agent.on('message', (message, { port }) => {
      for (const said of [answer(message)].flat() as Buffer[]) agent.send(said, port, '127.0.0.1', () => undefined);
    });
  });
  afterAll(() => void agent.close());

  const users = {
    v1: { version: 'v1', community: new Secret('public') },
    v2c: { version: 'v2c', community: new Secret('public') },
    v3: {
      version: 'v3',
      username: 'lab',
      authPassword: new Secret('long enough'),
      privPassword: new Secret('long enough'),
    },
  } as const;
  const driver = (version: keyof typeof users): PduDriver =>
    snmpPdu({
      host: `127.0.0.1:${agent.address().port}`,
      snmp: users[version],
      resendMs: 5,
      control: values,
      status: values,
    });

  /** The request as a response: in v1 and v2c one byte tells them apart. */
  const response = (message: Buffer): Buffer => {
    const said = Buffer.from(message);
    const at = said.findIndex((byte) => byte === 0xa0 || byte === 0xa3);
    if (at !== -1) said[at] = 0xa2;
    return said;
  };
  const damage = fc.record({
    at: fc.nat(120),
    value: fc.oneof(fc.constantFrom(0, 0x30, 0x7f, 0x80, 0x84, 0xff), fc.integer({ min: 0, max: 255 })),
  });

  it.each(['v1', 'v2c', 'v3'] as const)(
    'that answers %s with anything ends in a typed error or a state',
    async (version) => {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('response', 'random', 'both'),
          fc.array(damage, { maxLength: 5 }),
          fc.uint8Array({ maxLength: 80 }),
          fc.nat(120),
          async (kind, changes, random, cut) => {
            answer = (message) => {
              const said = response(message);
              for (const { at, value } of changes) if (at < said.length) said[at] = value;
              const damaged = changes.length % 2 === 0 ? said : said.subarray(0, cut);
              return kind === 'response'
                ? damaged
                : kind === 'random'
                  ? Buffer.from(random)
                  : [Buffer.from(random), damaged, said];
            };
            await ends(driver(version));
          },
        ),
        { numRuns: 100 },
      );
    },
  );

  it('that claims lengths beyond all bounds, or answers a thousand times, is none', async () => {
    const lengths = [
      [0x84, 0xff, 0xff, 0xff, 0xff],
      [0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
      [0x80],
      [0xff],
    ];
    for (const length of lengths) {
      answer = () => Buffer.from([0x30, ...length, 0x02, 0x01, 0x01, 0x04, ...length, 0x61]);
      for (const version of ['v1', 'v2c', 'v3'] as const) {
        for (const end of await ends(driver(version))) expect(String(end)).toMatch(/failed$/);
      }
    }
    answer = (message) => Array.from({ length: 1_000 }, () => Buffer.from(message));
    for (const end of await ends(driver('v2c'))) expect(String(end)).toMatch(/failed$/);
  });

  it('that speaks no SNMP may have done all the same what it was told', async () => {
    answer = () => Buffer.from('garbage');
    expect(await ends(driver('v2c'))).toEqual(['power-failed', 'power-failed']);
  });
});
