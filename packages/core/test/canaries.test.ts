import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  ConsoleSession,
  ConsoleShell,
  emailNotifier,
  postgres,
  s3ArtifactStorage,
  Secret,
  webhookNotifier,
  type ConsoleLogin,
  type Notification,
} from '@bringup/core';
import { fakeClock, memoryConsole, MemoryLine, memoryLab, type MemoryGuest } from '@bringup/core/testing';
import { describe, expect, test } from 'vitest';
import { canary, hidden, leaks } from '../../../test/fixtures/canaries.ts';

const notification: Notification = {
  id: '01notification',
  reason: 'raised',
  alert: {
    id: '01alert',
    type: 'unreachable',
    severity: 'critical',
    state: 'open',
    subject: '01board',
    message: 'board1 does not answer.',
    details: {},
    count: 1,
    raisedAt: Date.UTC(2026, 0, 1),
    lastSeenAt: Date.UTC(2026, 0, 1),
  },
};

interface Listening extends AsyncDisposable {
  readonly port: number;
  /** What it was asked, in words. */
  readonly heard: string[];
}

async function listenHttp(
  answer: (asked: string) => readonly [number, string, string?] | undefined,
): Promise<Listening> {
  const heard: string[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const asked = `${request.url} ${JSON.stringify(request.headers)} ${await text(request)}`;
    heard.push(asked);
    const [status, body, location] = answer(asked) ?? [];
    if (status === undefined) return void response.destroy();
    response.writeHead(status, { 'content-type': 'application/xml', ...(location && { location }) }).end(body);
  };
  const server = createHttpServer((request, response) => void serve(request, response));
  return listening(server.listen(0, '127.0.0.1'), heard, () => server.closeAllConnections());
}

async function listenTcp(onConnection: (socket: Socket, heard: string[]) => void): Promise<Listening> {
  const heard: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    onConnection(socket, heard);
  });
  return listening(server.listen(0, '127.0.0.1'), heard, () => sockets.forEach((socket) => socket.destroy()));
}

async function listening(
  server: ReturnType<typeof createServer>,
  heard: string[],
  cut: () => void,
): Promise<Listening> {
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    heard,
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
    },
  };
}

const xml = (code: string, message: string): string =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message.replaceAll(/[<&]/g, '')}</Message></Error>`;

/** What HTTP servers do to those who show them something secret. */
const httpServers: Readonly<Record<string, (asked: string) => readonly [number, string, string?] | undefined>> = {
  'hangs up': () => undefined,
  'refuses it': () => [403, xml('AccessDenied', 'no')],
  'has an error and repeats all': (asked) => [400, xml('Invalid', asked)],
  'has an error that is named after it': (asked) => [400, xml(asked, 'no')],
  'repeats all as its answer': (asked) => [200, asked],
  'sends it elsewhere': (asked) => [307, '', `http://127.0.0.1:1/?${encodeURIComponent(asked)}`],
};

describe.each(Object.entries(httpServers))('a server that %s', (_, answer) => {
  test('gets no secret of a webhook out', async () => {
    await using server = await listenHttp(answer);
    for (const port of [server.port, 1]) {
      await using notifier = webhookNotifier({
        url: new Secret(`http://127.0.0.1:${port}/hooks/${canary('WebhookOptions.url')}`),
        secret: hidden('WebhookOptions.secret'),
        headers: { authorization: new Secret(`Bearer ${canary('WebhookOptions.headers')}`) },
      });
      const result = await notifier.deliver(notification).catch((error: unknown) => error);
      expect(leaks({ result, notifier })).toEqual([]);
    }
    expect(server.heard[0]).toContain(canary('WebhookOptions.headers'));
  });

  test('gets no credential of S3 out', async () => {
    await using server = await listenHttp(answer);
    for (const port of [server.port, 1]) {
      await using storage = s3ArtifactStorage({
        endpoint: `http://127.0.0.1:${port}`,
        bucket: 'artifacts',
        credentials: {
          accessKeyId: 'lab',
          secretAccessKey: hidden('S3Connection.credentials.secretAccessKey'),
          sessionToken: hidden('S3Connection.credentials.sessionToken'),
        },
      });
      const sha256 = 'a'.repeat(64);
      const bytes = async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.from('x');
      };
      const outcome = (call: Promise<unknown>): Promise<unknown> => call.catch((error: unknown) => error);
      const put = await outcome(storage.put(bytes()));
      const get = await outcome(Array.fromAsync(storage.get(sha256)));
      const stat = await outcome(storage.stat(sha256));
      const removal = await outcome(storage.delete(sha256));
      const list = await outcome(Array.fromAsync(storage.list()));
      expect(leaks({ put, get: get instanceof Error ? get : 'bytes', stat, removal, list, storage })).toEqual([]);
    }
    expect(server.heard[0]).toContain(canary('S3Connection.credentials.sessionToken'));
  });
});

const mailServers: Readonly<Record<string, (line: string) => string | undefined>> = {
  'hangs up': () => undefined,
  'refuses the login': (line) => (line.startsWith('EHLO') ? '250-here\r\n250 AUTH PLAIN LOGIN' : '535 no'),
  'refuses the login and repeats it': (line) =>
    line.startsWith('EHLO')
      ? '250-here\r\n250 AUTH LOGIN'
      : line.startsWith('AUTH')
        ? '334 VXNlcm5hbWU6'
        : `535 no ${line}`,
  'lets in and refuses the mail': (line) =>
    line.startsWith('EHLO') ? '250-here\r\n250 AUTH PLAIN' : line.startsWith('AUTH') ? '235 in' : '550 no',
};

test.for(Object.entries(mailServers))('a mail server that %s gets no password out', async ([what, answer]) => {
  // Its TLS is what keeps the password from it: without, nothing is told to it at all.
  await using server = await listenTcp((socket, heard) => {
    socket.write('220 here\r\n');
    socket.on('data', (bytes: Buffer) => {
      for (const line of bytes.toString().split('\r\n').filter(Boolean)) {
        heard.push(line);
        const said = answer(line);
        if (said === undefined) socket.destroy();
        else socket.write(`${said}\r\n`);
      }
    });
  });
  for (const [tls, port] of [
    ['required', server.port],
    ['implicit', server.port],
    ['required', 1],
  ] as const) {
    await using notifier = emailNotifier({
      host: '127.0.0.1',
      port,
      tls,
      auth: { user: 'lab', password: hidden('EmailOptions.auth.password') },
      from: 'lab@example.org',
      to: 'ada@example.org',
    });
    const result = await notifier.deliver(notification).catch((error: unknown) => error);
    expect(result, what).toBeInstanceOf(Error);
    expect(leaks({ result, notifier, heard: server.heard.join('\n') })).toEqual([]);
  }
});

/** A message of PostgreSQL's protocol (version 3.0): type, length, fields. */
const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const wantsPassword = message('R', Buffer.from([0, 0, 0, 3]));
const refusal = (code: string, words: string): Buffer =>
  message('E', Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${words}\0\0`));
const databases: Readonly<Record<string, (socket: Socket, heard: string) => void>> = {
  'hangs up': (socket) => socket.destroy(),
  'refuses the password and repeats it': (socket, heard) => socket.end(refusal('28P01', `no: ${heard}`)),
  'has another error and repeats it': (socket, heard) => socket.end(refusal('3D000', `no: ${heard}`)),
  'has an error nobody knows and repeats it': (socket, heard) => socket.end(refusal('99999', `no: ${heard}`)),
  'speaks another protocol': (socket, heard) => socket.end(`HTTP/1.1 400 ${heard}\r\n\r\n`),
};
test.for(Object.entries(databases))('a database that %s gets no password out', async ([, answer]) => {
  await using server = await listenTcp((socket, heard) => {
    socket.once('data', () => {
      socket.write(wantsPassword);
      socket.once('data', (bytes: Buffer) => {
        heard.push(bytes.toString('latin1'));
        answer(socket, bytes.subarray(5, -1).toString('latin1'));
      });
    });
  });
  for (const port of [server.port, 1]) {
    const url = `postgres://lab@127.0.0.1:${port}/lab`;
    const store = postgres({ url, password: hidden('PostgresOptions.password') });
    const result = await store.open().catch((error: unknown) => error);
    expect(result).toBeInstanceOf(Error);
    expect(leaks({ result, store })).toEqual([]);
  }
  expect(server.heard.join('')).toContain(canary('PostgresOptions.password'));
});

test('a password in the wrong place is refused without being repeated', async () => {
  await using lab = await memoryLab();
  const value = canary('BoardRegistration.consoleLogin.password');
  const board = { name: 'board', boardType: 'x', serialDevice: '/dev/ttyS0' };
  for (const wrong of [
    { ...board, consoleLogin: value },
    { ...board, consoleLogin: { password: value } },
    { ...board, consoleLogin: [value] },
    { ...board, serialBaudRate: value },
    { ...board, labels: value },
    { ...board, powerControl: { method: value } },
    { ...board, password: value },
  ]) {
    const result = await lab.boards.registerBoard(wrong as never).catch((error: unknown) => error);
    expect(result).toMatchObject({ code: 'invalid-input' });
    expect(leaks({ result })).toEqual([]);
  }
});

describe('a console that asks for a login', () => {
  /** What boards do with the password that they are told. */
  const boards: Readonly<
    Record<string, (guest: Pick<MemoryGuest, 'say'>, password: string) => 'again' | 'mute' | 'end'>
  > = {
    'refuses it': (guest) => {
      guest.say('\r\nLogin incorrect\r\nlogin: ');
      return 'again';
    },
    'repeats it and refuses it': (guest, password) => {
      guest.say(`${password}\r\n${password}: Login incorrect\r\nlogin: `);
      return 'again';
    },
    'repeats it and says nothing more': (guest, password) => {
      guest.say(`${password} is it`);
      return 'mute';
    },
    'repeats it and ends': (guest, password) => {
      guest.say(`${password} is it`);
      return 'end';
    },
  };
  const asks =
    (answer: (typeof boards)[string]) =>
    async (guest: Pick<MemoryGuest, 'say' | 'input'>): Promise<void> => {
      let typed = '';
      let state: 'login' | 'password' = 'login';
      guest.say('login: ');
      for await (const chunk of guest.input()) {
        typed += Buffer.from(chunk).toString();
        for (let end = typed.indexOf('\n'); end >= 0; end = typed.indexOf('\n')) {
          const line = typed.slice(0, end).trim();
          typed = typed.slice(end + 1);
          if (state === 'login') {
            guest.say(line === '' ? '\r\nlogin: ' : '\r\nPassword: ');
            if (line !== '') state = 'password';
            continue;
          }
          const next = answer(guest, line);
          if (next === 'end') return;
          if (next === 'mute') await new Promise(() => undefined);
          state = 'login';
        }
      }
    };

  test.for(Object.entries(boards))('and %s gets no password into an error', async ([, answer]) => {
    const clock = fakeClock();
    const connector = memoryConsole({ clock });
    const line = new MemoryLine('board');
    connector.attach('/dev/ttyS0', line);
    const guest = { say: (data: string | Uint8Array) => line.say(data), input: () => line.input() };
    void asks(answer)(guest).then(() => line.end());
    const console = await connector.open({ name: 'board', device: '/dev/ttyS0', baudRate: 115_200 });
    const session = new ConsoleSession({ console, clock });
    const login: ConsoleLogin = { user: 'root', password: hidden('ConsoleLogin.password') };
    const opening = ConsoleShell.open({ session, clock, login, timeoutMs: 20_000 }).catch((error: unknown) => error);
    const result = await clock.runUntil(opening);
    expect(line.said.toString()).toContain('Password:');
    expect(result).toBeInstanceOf(Error);
    expect(leaks({ result, session, login })).toEqual([]);
    expect(leaks({ result, session, login })).toEqual([]);
    await session[Symbol.asyncDispose]();
  });

  test.for(Object.entries(boards))('of a board that %s leaves none in the lab', async ([, answer]) => {
    await using lab = await memoryLab();
    await lab.addBoard({ name: 'locked', guest: asks(answer) });
    lab.board('locked').powerGlitch();
    await lab.boards.decommissionBoard((await lab.boards.findBoard('locked'))?.id ?? '');
    const consoleLogin = { user: 'root', password: hidden('BoardRegistration.consoleLogin.password') };
    const adding = lab.addBoard({ name: 'locked', without: ['shell'], architecture: 'arm64', consoleLogin });
    const result = await lab.clock.runUntil(adding.catch((error: unknown) => error));
    expect(result).toBeInstanceOf(Error);
    const events = await Array.fromAsync(lab.events.read());
    const alerts = await lab.alerts.list();
    expect(leaks({ result, events, alerts, lab })).toEqual([]);
  });
});
