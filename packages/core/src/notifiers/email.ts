import { withDeadline } from '../async.ts';
import { alertText, plainAlert } from '../alerts/text.ts';
import type { Notification, Notifier } from '../contracts/notifier.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import type { AlertSeverity } from '../model/alert.ts';
import type { Secret } from '../model/secret.ts';
import { systemClock } from '../runtime.ts';

/** Options of {@link emailNotifier}. */
export interface EmailOptions {
  /** Mail server that takes the mails, such as `smtp.example.org`. */
  readonly host: string;
  /** Default 465 with `tls: 'implicit'`, otherwise 587. */
  readonly port?: number;
  /**
   * `required`: STARTTLS, or nothing is sent. `implicit`: TLS from the first byte. `none`: in clear, for a
   * server on this machine. Default `required`.
   */
  readonly tls?: 'required' | 'implicit' | 'none';
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string;
  /** Account at the server. Default: none. Refused with `tls: 'none'`, which would tell the password. */
  readonly auth?: { readonly user: string; readonly password: Secret };
  /** Sender, such as `Lab <lab@example.org>`. */
  readonly from: string;
  readonly to: string | readonly string[];
  /** Begins each subject. Default `[bringup]`. */
  readonly subjectPrefix?: string;
  /** Alerts below this severity are not delivered. Default: all are. */
  readonly minSeverity?: AlertSeverity;
  /** Unique among the lab's notifiers. Default `email`. */
  readonly name?: string;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** A mail before it is put into words of a protocol. */
export interface AlertMail {
  readonly subject: string;
  /** Plain text. */
  readonly text: string;
}

/** All that is needed of nodemailer. */
interface Nodemailer {
  createTransport(options: object): {
    sendMail(mail: object): Promise<{ readonly rejected?: readonly unknown[] }>;
    close(): void;
  };
}

/**
 * Mails alerts in plain text, one mail each; all mails of one alert are one thread. Needs the package
 * `nodemailer`, version 7 or later, which is loaded with the first mail.
 */
export function emailNotifier(options: EmailOptions): Notifier {
  const { minSeverity, name = 'email', clock = systemClock, tls = 'required' } = options;
  if (tls === 'none' && options.auth !== undefined) {
    throw new TypeError("tls: 'none' would send the password in clear; use 'required' or 'implicit'");
  }
  return {
    name,
    ...(minSeverity !== undefined && { minSeverity }),
    deliver: (notification, call = {}) => {
      const bounds = { timeoutMs: limits.deliveryTimeoutMs, ...call };
      return withDeadline(clock, `mailing through ${options.host}`, bounds, (signal) =>
        send(options, notification, signal),
      );
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** The mail of a notification. */
export function alertMail({ alert, reason }: Notification, prefix = '[bringup]'): AlertMail {
  const { title } = alertText(alert, reason);
  return { subject: `${prefix} ${title}`.trim(), text: plainAlert(alert, reason) };
}

async function send(options: EmailOptions, notification: Notification, signal: AbortSignal): Promise<void> {
  const { host, from, to } = options;
  const { createTransport } = await loadNodemailer();
  const transport = createTransport(transportOptions(options));
  const abort = (): void => transport.close();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const domain = /@([^\s>]+)>?$/.exec(from)?.[1] ?? host;
    const { subject, text } = alertMail(notification, options.subjectPrefix);
    const { rejected = [] } = await transport.sendMail({
      from,
      to,
      subject,
      text,
      // The same for every try: mail servers and programs drop what they have.
      messageId: `<${notification.id}@${domain}>`,
      references: `<alert-${notification.alert.id}@${domain}>`,
      headers: { 'Auto-Submitted': 'auto-generated' },
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    if (rejected.length > 0) {
      throw new BringupError(
        'delivery-failed',
        `${host} did not take the mail for ${rejected.map(String).join(', ')}`,
        { details: { host, rejected: rejected.map(String) } },
      );
    }
  } catch (error) {
    throw mailError(host, error);
  } finally {
    signal.removeEventListener('abort', abort);
    transport.close();
  }
}

function transportOptions({ host, port, tls = 'required', ca, auth }: EmailOptions): object {
  return {
    host,
    port: port ?? (tls === 'implicit' ? 465 : 587),
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'none',
    ...(ca !== undefined && { tls: { ca } }),
    ...(auth !== undefined && { auth: { user: auth.user, pass: auth.password.reveal() } }),
    connectionTimeout: limits.deliveryTimeoutMs,
    greetingTimeout: limits.deliveryTimeoutMs,
    socketTimeout: limits.deliveryTimeoutMs,
    logger: false,
  };
}

async function loadNodemailer(): Promise<Nodemailer> {
  const packageName: string = 'nodemailer';
  try {
    const loaded = (await import(packageName)) as Nodemailer & { readonly default?: Nodemailer };
    return loaded.default ?? loaded;
  } catch (error) {
    throw new BringupError(
      'dependency-missing',
      "mails need the package 'nodemailer'; install it beside @bringup/core",
      { cause: error, details: { dependency: packageName } },
    );
  }
}

/** What the mail server said, without what was said to it. */
function mailError(host: string, error: unknown): BringupError {
  if (error instanceof BringupError) return error;
  const { code: given, responseCode } = error as { readonly code?: unknown; readonly responseCode?: unknown };
  const mistrusted = given === 'ESOCKET' && error instanceof Error && /certificate|SSL routines/i.test(error.message);
  const code = mistrusted ? 'ETLS' : given;
  const reply = typeof responseCode === 'number' ? responseCode : undefined;
  const details = { host, reason: String(code ?? 'unknown'), ...(reply !== undefined && { reply }) };
  // RFC 5321 §4.2.1: 4yz may pass, 5yz will not.
  const retryable = reply === undefined ? code !== 'ETLS' && code !== 'EENVELOPE' : reply < 500;
  const [kind, said]: readonly [ErrorCode, string] =
    code === 'EAUTH'
      ? ['authentication-failed', 'refused the login']
      : code === 'ETLS'
        ? ['connection-failed', 'offers no TLS that can be trusted']
        : reply === undefined
          ? ['connection-failed', 'could not be reached']
          : ['delivery-failed', 'did not take the mail'];
  const answer = reply === undefined ? details.reason : String(reply);
  return new BringupError(kind, `${host} ${said} (${answer})`, { retryable: code !== 'EAUTH' && retryable, details });
}
