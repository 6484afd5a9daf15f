import { createHmac } from 'node:crypto';
import { withDeadline } from '../async.ts';
import { alertText } from '../alerts/text.ts';
import type { Notification, Notifier } from '../contracts/notifier.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError, isBringupError, type ErrorDetails } from '../errors.ts';
import { limits } from '../limits.ts';
import type { AlertSeverity } from '../model/alert.ts';
import type { Secret } from '../model/secret.ts';
import { systemClock } from '../runtime.ts';

/** Options of {@link webhookNotifier}. */
export interface WebhookOptions {
  /** Where to post; a `Secret` when the URL itself lets in, as those of chat services do. */
  readonly url: string | Secret;
  /**
   * Signs what is posted. `whsec_` and base64 as in Standard Webhooks, otherwise taken as it is, in
   * UTF-8.
   */
  readonly secret: Secret;
  /** More headers, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string | Secret>>;
  /** Alerts below this severity are not delivered. Default: all are. */
  readonly minSeverity?: AlertSeverity;
  /** Unique among the lab's notifiers. Default `webhook`. */
  readonly name?: string;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** What a webhook is posted, as JSON. Times are ISO 8601 in UTC. */
export interface WebhookBody {
  /** `alert.raised`, `alert.escalated` or `alert.resolved`. */
  readonly type: string;
  /** When that happened. */
  readonly timestamp: string;
  readonly data: {
    /** One line for a person: how bad, and what. */
    readonly title: string;
    /** What a person can do about it; empty when it is over. */
    readonly advice: string;
    /** As {@link Alert}, times in milliseconds since the Unix epoch. */
    readonly alert: Notification['alert'];
  };
}

/**
 * Posts alerts as JSON to a URL, signed as Standard Webhooks specifies
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): the
 * headers `webhook-id`, `webhook-timestamp` (seconds since the Unix epoch, of this try) and
 * `webhook-signature`, which is `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`. The id is
 * the same for every try. Any 2xx counts as taken. 408, 425, 429, 5xx and network trouble are tried
 * again, not before `Retry-After`. Redirects are followed on the same origin only, and only those that
 * keep the method (307, 308).
 */
export function webhookNotifier(options: WebhookOptions): Notifier {
  const { secret, minSeverity, name = 'webhook', clock = systemClock } = options;
  const url = parseUrl(options.url);
  const headers = Object.entries(options.headers ?? {}).map(([key, value]) => [key, plain(value)] as const);
  return {
    name,
    ...(minSeverity !== undefined && { minSeverity }),
    deliver: (notification, call = {}) => {
      const bounds = { timeoutMs: limits.deliveryTimeoutMs, ...call };
      return withDeadline(clock, `posting to ${url.origin}`, bounds, (signal) =>
        post(url, request(notification, secret, headers, clock), signal, clock),
      );
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** The body as it is posted. */
export function webhookBody({ alert, reason }: Notification): WebhookBody {
  const { title, advice } = alertText(alert, reason);
  const at = reason === 'raised' ? alert.raisedAt : (alert.resolvedAt ?? alert.lastSeenAt);
  return { type: `alert.${reason}`, timestamp: new Date(at).toISOString(), data: { title, advice, alert } };
}

function request(
  notification: Notification,
  secret: Secret,
  headers: readonly (readonly [string, string])[],
  clock: Clock,
): RequestInit {
  const body = JSON.stringify(webhookBody(notification));
  const { id } = notification;
  const timestamp = Math.floor(clock.now() / 1000);
  const signature = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64');
  return {
    method: 'POST',
    redirect: 'manual',
    body,
    headers: {
      'content-type': 'application/json',
      'user-agent': 'bringup',
      ...Object.fromEntries(headers),
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': `v1,${signature}`,
    },
  };
}

async function post(url: URL, init: RequestInit, signal: AbortSignal, clock: Clock): Promise<void> {
  let target = url;
  for (let hops = 0; ; hops += 1) {
    const response = await send(target, init, signal);
    // Nobody reads it, and an unread body keeps the connection.
    await response.body?.cancel();
    if (response.ok) return;
    const next = redirection(response, target);
    if (next === undefined || hops >= limits.webhookRedirects) throw refused(target, response, clock);
    target = next;
  }
}

async function send(url: URL, init: RequestInit, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { ...init, signal });
  } catch (error) {
    if (signal.aborted && isBringupError(signal.reason)) throw signal.reason;
    // The URL's path may be a secret, and fetch's own message names nothing else of use.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer';
    throw new BringupError('connection-failed', `${url.origin} could not be reached: ${code}`, {
      retryable: true,
      details: { origin: url.origin, reason: code },
    });
  }
}

/** Where the receiver has moved to, if that is on the same origin and the method stays. */
function redirection({ status, headers }: Response, from: URL): URL | undefined {
  const location = headers.get('location');
  if ((status !== 307 && status !== 308) || location === null || !URL.canParse(location, from.href)) return undefined;
  const next = new URL(location, from);
  return next.origin === from.origin ? next : undefined;
}

function refused(url: URL, { status, headers }: Response, clock: Clock): BringupError {
  const retryable = status === 408 || status === 425 || status === 429 || status >= 500;
  const retryAfterMs = retryable ? waitOf(headers.get('retry-after'), clock.now()) : undefined;
  const details: ErrorDetails = { origin: url.origin, status, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  if (status === 401 || status === 403) {
    return new BringupError('authentication-failed', `${url.origin} did not let the webhook in (${status})`, {
      details,
    });
  }
  const moved = status >= 300 && status < 400 ? ': it redirects elsewhere, which is not followed; update the URL' : '';
  return new BringupError('delivery-failed', `${url.origin} answered the webhook with ${status}${moved}`, {
    retryable,
    details,
  });
}

/** `Retry-After` (RFC 9110 §10.2.3): seconds, or a date. */
function waitOf(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function parseUrl(given: string | Secret): URL {
  const text = plain(given);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
    throw new TypeError('the URL of a webhook must be a complete http or https URL');
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError('give the credentials of a webhook as an authorization header, not in its URL');
  }
  return url;
}

function keyOf(secret: Secret): Buffer {
  const value = secret.reveal();
  return value.startsWith('whsec_') ? Buffer.from(value.slice('whsec_'.length), 'base64') : Buffer.from(value);
}

function plain(value: string | Secret): string {
  return typeof value === 'string' ? value : value.reveal();
}
