import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Secret, webhookNotifier, type WebhookBody, type WebhookOptions } from '@bringup/core';
import { fakeClock, notifierContract } from '@bringup/core/testing';
import { notification } from '../support/notification.ts';

interface Received {
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly path: string;
}

interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly received: Received[];
  answer: (response: ServerResponse, request: Received) => void;
  stop(): Promise<void>;
}

async function receiver(): Promise<Receiver> {
  const received: Received[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const got = { headers: request.headers, body: Buffer.concat(chunks).toString('utf8'), path: request.url ?? '' };
      made.answer(response, got);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const made: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks/s3cr3t-path?token=t0ken`,
    received,
    answer: (response, request) => {
      received.push(request);
      response.writeHead(204).end();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return made;
}

const secret = new Secret('whsec_c2hoaCBrZXkgb2YgdGhlIGxhYg==');

notifierContract({
  name: 'webhook',
  setup: async () => {
    const to = await receiver();
    const accept = to.answer;
    const notifier = webhookNotifier({
      url: new Secret(to.url),
      secret,
      headers: { authorization: new Secret('Bearer b34r3r') },
    });
    return {
      notifier,
      received: async () => to.received.map(({ headers, body }) => ({ id: String(headers['webhook-id']), text: body })),
      refuse: (how) => {
        to.answer = (response) => response.writeHead(how === 'for-now' ? 503 : 400).end('no');
      },
      accept: () => {
        to.answer = accept;
      },
      hang: () => {
        to.answer = () => undefined;
      },
      disconnect: () => to.stop(),
      secrets: [secret.reveal(), 's3cr3t-path', 't0ken', 'b34r3r'],
      dispose: async () => {
        await notifier[Symbol.asyncDispose]();
        await to.stop();
      },
    };
  },
});

async function deliver(to: Receiver, options: Partial<WebhookOptions> = {}): Promise<Received> {
  await webhookNotifier({ url: to.url, secret, ...options }).deliver(notification);
  return to.received.at(-1) ?? expect.fail();
}

const answering = async (status: number, headers: Record<string, string> = {}): Promise<unknown> => {
  await using to = await receiver();
  to.answer = (response) => response.writeHead(status, headers).end();
  return await webhookNotifier({ url: to.url, secret, clock: fakeClock(Date.UTC(2026, 0, 1)) })
    .deliver(notification)
    .then(
      () => 'delivered',
      (error: unknown) => error,
    );
};

describe('a webhook', () => {
  it('R16.5: is signed as Standard Webhooks says: HMAC-SHA256 over id, time and body', async () => {
    await using to = await receiver();
    const { headers, body } = await deliver(to, { clock: fakeClock(1_767_225_600_000) });
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': '01notification',
      'webhook-timestamp': '1767225600',
    });
    const key = Buffer.from('c2hoaCBrZXkgb2YgdGhlIGxhYg==', 'base64');
    const expected = createHmac('sha256', key).update(`01notification.1767225600.${body}`).digest('base64');
    expect(headers['webhook-signature']).toBe(`v1,${expected}`);
  });

  it('takes any other secret as it is', async () => {
    await using to = await receiver();
    const { headers, body } = await deliver(to, { secret: new Secret('a passphrase') });
    const signed = `01notification.${String(headers['webhook-timestamp'])}.${body}`;
    const expected = createHmac('sha256', 'a passphrase').update(signed).digest('base64');
    expect(headers['webhook-signature']).toBe(`v1,${expected}`);
  });

  it('says what happened, what to do, and everything that is known of the alert', async () => {
    await using to = await receiver();
    const { body } = await deliver(to);
    expect(JSON.parse(body) as WebhookBody).toEqual({
      type: 'alert.raised',
      timestamp: '2026-01-01T12:00:00.000Z',
      data: {
        title: 'CRITICAL: board1 did not answer within 180 s after 2 power cycles',
        advice: 'Clear the intervention once somebody has looked after it.',
        alert: notification.alert,
      },
    });
  });

  it.each([
    [500, 'delivery-failed', true],
    [503, 'delivery-failed', true],
    [429, 'delivery-failed', true],
    [408, 'delivery-failed', true],
    [400, 'delivery-failed', false],
    [404, 'delivery-failed', false],
    [410, 'delivery-failed', false],
    [401, 'authentication-failed', false],
    [302, 'delivery-failed', false],
  ])('that is answered with %i is %s, worth another try: %s', async (status, code, retryable) => {
    expect(await answering(status)).toMatchObject({ code, retryable, details: { status } });
  });

  it('honours Retry-After, in seconds or as a date', async () => {
    expect(await answering(429, { 'retry-after': '120' })).toMatchObject({ details: { retryAfterMs: 120_000 } });
    const date = new Date(Date.UTC(2026, 0, 1, 0, 5)).toUTCString();
    expect(await answering(503, { 'retry-after': date })).toMatchObject({ details: { retryAfterMs: 300_000 } });
    expect(await answering(503, { 'retry-after': 'soon' })).not.toHaveProperty('details.retryAfterMs');
  });

  it('follows a redirect that keeps the method on the same origin, and none to another host', async () => {
    await using elsewhere = await receiver();
    await using to = await receiver();
    const take = to.answer;
    to.answer = (response, request) => {
      if (request.path === '/moved') take(response, request);
      else response.writeHead(308, { location: '/moved' }).end();
    };
    expect((await deliver(to)).path).toBe('/moved');
    to.answer = (response) => response.writeHead(307, { location: elsewhere.url }).end();
    await expect(deliver(to)).rejects.toMatchObject({ code: 'delivery-failed', retryable: false });
    expect(elsewhere.received).toEqual([]);
    to.answer = (response) => response.writeHead(307, { location: '/round-and-round' }).end();
    await expect(deliver(to)).rejects.toHaveProperty('code', 'delivery-failed');
  });

  it.each(['ftp://example.org/', 'nonsense', 'https://user:hunter2@example.org/'])(
    'to %s is a mistake of the program, which is told without the URL',
    (url) => {
      const made = (): unknown => webhookNotifier({ url, secret });
      expect(made).toThrow(TypeError);
      expect(made).not.toThrow(/hunter2/);
    },
  );
});
