import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import type { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { emailNotifier, Secret } from '@bringup/core';
import { notifierContract } from '@bringup/core/testing';
import { alertMail } from '../../src/notifiers/email.ts';
import { notification } from '../support/notification.ts';

type Done = (error?: Error) => void;

/** As much of the package as is needed; it comes without types. */
interface SmtpServer {
  readonly server: Server;
  listen(port: number, host: string, listening: () => void): void;
  close(closed: () => void): void;
  on(event: 'error', listener: () => void): void;
}

const { SMTPServer } = createRequire(import.meta.url)('smtp-server') as {
  readonly SMTPServer: new (options: {
    disabledCommands: string[];
    closeTimeout: number;
    onMailFrom: (address: unknown, session: unknown, done: Done) => void;
    onData: (stream: Readable, session: unknown, done: Done) => void;
  }) => SmtpServer;
};

/** Just what is needed of a mail to compare it. */
function parse(raw: string): { id: string; subject: string; text: string } {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  const unfolded = head.replace(/\r\n[ \t]+/g, ' ');
  const header = (name: string): string => new RegExp(`^${name}: (.*)$`, 'im').exec(unfolded)?.[1] ?? '';
  let body = rest.join('\r\n\r\n');
  const encoding = header('content-transfer-encoding');
  if (encoding === 'base64') body = Buffer.from(body, 'base64').toString('utf8');
  if (encoding === 'quoted-printable') {
    const bytes = body
      .replace(/=\r\n/g, '')
      .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
    body = Buffer.from(bytes, 'latin1').toString('utf8');
  }
  return { id: header('message-id').replace(/^<|@.*$/g, ''), subject: header('subject'), text: body };
}

interface MailServer extends AsyncDisposable {
  readonly port: number;
  readonly mails: { id: string; subject: string; text: string }[];
  mode: 'accept' | 'for-now' | 'for-good' | 'hang';
  stop(): Promise<void>;
}

async function mailServer(): Promise<MailServer> {
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS', 'AUTH'],
    closeTimeout: 10,
    onMailFrom: (_address, _session, done) => {
      if (made.mode === 'hang') return;
      if (made.mode === 'accept') done();
      else done(Object.assign(new Error('not now'), { responseCode: made.mode === 'for-now' ? 451 : 550 }));
    },
    onData: (stream, _session, done) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        made.mails.push(parse(Buffer.concat(chunks).toString('utf8')));
        done();
      });
    },
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopped ??= new Promise((resolve) => server.close(() => resolve())));
  const made: MailServer = {
    port: (server.server.address() as AddressInfo).port,
    mails: [],
    mode: 'accept',
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return made;
}

notifierContract({
  name: 'e-mail',
  setup: async () => {
    const server = await mailServer();
    const notifier = emailNotifier({
      host: '127.0.0.1',
      port: server.port,
      tls: 'none',
      from: 'Lab <lab@example.org>',
      to: 'ada@example.org',
    });
    return {
      notifier,
      received: async () => server.mails.map(({ id, text }) => ({ id, text })),
      refuse: (how) => void (server.mode = how),
      accept: () => void (server.mode = 'accept'),
      hang: () => void (server.mode = 'hang'),
      disconnect: () => server.stop(),
      dispose: async () => {
        await notifier[Symbol.asyncDispose]();
        await server.stop();
      },
    };
  },
});

describe('a mail of an alert', () => {
  it('R16.5: says in its subject how bad and what, and in its text what happened and what to do', () => {
    expect(alertMail(notification)).toEqual({
      subject: '[bringup] CRITICAL: board1 did not answer within 180 s after 2 power cycles',
      text: `What happened:
  board1 did not answer within 180 s after 2 power cycles. Look at the board:
  its supply, its boot medium, its console.

What to do:
  Clear the intervention once somebody has looked after it.

  Severity  critical
  Type      manual-intervention
  About     01board
  Raised    2026-01-01 12:00:00 UTC
  Noticed   3 times, last 2026-01-01 12:05:00 UTC
  Alert     01alert

Details:
  board   board1
  cycles  2
  code    boot-timeout
`,
    });
  });

  it('of trouble that is over says why, and asks for nothing', () => {
    const { subject, text } = alertMail({
      id: '01n',
      reason: 'resolved',
      alert: {
        ...notification.alert,
        state: 'resolved',
        resolvedAt: Date.UTC(2026, 0, 1, 13),
        resolution: 'it answers again',
      },
    });
    expect(subject).toBe('[bringup] RESOLVED: board1 did not answer within 180 s after 2 power cycles');
    expect(text).toContain('Why it is over:\n  it answers again\n');
    expect(text).toContain('Resolved  2026-01-01 13:00:00 UTC');
    expect(text).not.toContain('What to do');
  });

  it('holds no control characters, whatever a device said', () => {
    const message = 'board1: \u001b[2J\u0007\r\nBcc: x@y\u202e';
    const { subject, text } = alertMail({ ...notification, alert: { ...notification.alert, message } });
    expect(subject).toBe('[bringup] CRITICAL: board1:  [2J  Bcc: x@y');
    // eslint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f\u202e]/);
  });

  it('goes to nobody in clear when TLS is required and the server has none', async () => {
    await using server = await mailServer();
    const notifier = emailNotifier({
      host: '127.0.0.1',
      port: server.port,
      from: 'lab@example.org',
      to: 'a@example.org',
    });
    await expect(notifier.deliver(notification)).rejects.toMatchObject({ code: 'connection-failed', retryable: false });
    expect(server.mails).toEqual([]);
  });

  it('with a password in clear is a mistake of the program', () => {
    const auth = { user: 'lab', password: new Secret('hunter2') };
    const made = (): unknown => emailNotifier({ host: 'mail', tls: 'none', auth, from: 'a@b', to: 'c@d' });
    expect(made).toThrow(TypeError);
  });
});
