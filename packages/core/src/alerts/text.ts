import type { NotificationReason } from '../contracts/notifier.ts';
import type { JsonValue } from '../errors.ts';
import type { Alert, AlertType } from '../model/alert.ts';

/** What a person is told of an alert, in words. Plain text, whatever devices and jobs put into it. */
export interface AlertText {
  /** One line: how bad, and what. */
  readonly title: string;
  /** What happened. */
  readonly message: string;
  /** What to do about it; empty when it is over. */
  readonly advice: string;
}

/** Longest title: mail programs and chat windows show about this much of a line. */
const titleChars = 120;

const adviceByType: Readonly<Record<AlertType, string>> = {
  unreachable:
    'See whether it has power and network. Nothing new is allocated to it, and the lab looks for it again by itself.',
  'authentication-failed':
    'See whether its account and key still exist and are allowed in. The lab does not try again by itself.',
  degraded: 'It still works. Look at its health before it stops.',
  'resources-low': 'Free some of what is short, or allow less at the same time.',
  temperature: 'Look at its cooling, and at what runs on it.',
  power: 'Look at its outlet and its cabling.',
  connectivity: 'Look at its network and its serial line.',
  'build-failed':
    'Read the build’s error lines and log. The alert ends with the next build of the same kind that succeeds.',
  'deployment-failed': 'Read the deployment’s error and console log, then retry it or roll back.',
  'flash-failed': 'Look at the flash station and the board’s medium, then flash it again.',
  'pipeline-failed':
    'Read the log of the stage that failed; what was made until then is kept. The stage can be retried.',
  'test-failed': 'Read the results and the console log of the test run.',
  'storage-full': 'Make room: delete or unpin artifacts, or add space. New builds wait until then.',
  'disk-full': 'Make room on that machine. What was running there goes on by itself afterwards.',
  'artifact-corrupted': 'It is not served any more. Build it again, and look at the storage it lay on.',
  'left-behind': 'Look at the machine and remove what was left there.',
  'manual-intervention': 'Clear the intervention once somebody has looked after it.',
  custom: '',
  'approval-wanted': 'Approve or refuse the request; it waits.',
};

/** What to say of an alert. */
export function alertText(alert: Alert, reason: NotificationReason): AlertText {
  const message = printable(alert.message);
  const head = reason === 'resolved' ? 'RESOLVED' : alert.severity.toUpperCase();
  const title = `${head}: ${firstSentence(message.replaceAll('\n', ' '))}`;
  return {
    title: title.length <= titleChars ? title : `${title.slice(0, titleChars - 1)}…`,
    message,
    advice: reason === 'resolved' ? '' : adviceByType[alert.type],
  };
}

const opening: Readonly<Record<NotificationReason, string>> = {
  raised: 'What happened',
  escalated: 'It got worse',
  resolved: 'It is over. What had happened',
};

/** An alert as a plain text message, lines of at most 78 characters where words allow. */
export function plainAlert(alert: Alert, reason: NotificationReason): string {
  const { message, advice } = alertText(alert, reason);
  const parts = [section(opening[reason], wrapped(message))];
  if (alert.resolution !== undefined) parts.push(section('Why it is over', wrapped(printable(alert.resolution))));
  if (advice !== '') parts.push(section('What to do', wrapped(advice)));
  parts.push(table(facts(alert)));
  const details = Object.entries(alert.details).map(([key, value]) => [key, shown(value)] as const);
  if (details.length > 0) parts.push(section('Details', table(details)));
  return `${parts.join('\n\n')}\n`;
}

function facts(alert: Alert): (readonly [string, string])[] {
  return [
    ['Severity', alert.severity],
    ['Type', alert.type],
    ['About', printable(alert.subject === '' ? 'the lab as a whole' : alert.subject)],
    ['Raised', time(alert.raisedAt)],
    ...(alert.count > 1 ? [['Noticed', `${alert.count} times, last ${time(alert.lastSeenAt)}`] as const] : []),
    ...(alert.acknowledgedBy !== undefined ? [['Acknowledged by', printable(alert.acknowledgedBy)] as const] : []),
    ...(alert.resolvedAt !== undefined ? [['Resolved', time(alert.resolvedAt)] as const] : []),
    ['Alert', alert.id],
  ];
}

function time(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

function section(heading: string, body: string): string {
  return `${heading}:\n${body}`;
}

function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([key]) => key.length));
  return rows.map(([key, value]) => `  ${key.padEnd(width)}  ${value}`).join('\n');
}

function shown(value: JsonValue): string {
  const text = printable(typeof value === 'string' ? value : JSON.stringify(value)).replaceAll('\n', ' ');
  return text.length <= 300 ? text : `${text.slice(0, 299)}…`;
}

function wrapped(text: string): string {
  return text
    .split('\n')
    .flatMap((line) => line.match(/\S.{0,74}\S(?=\s|$)|\S+/g) ?? [''])
    .map((line) => `  ${line}`)
    .join('\n');
}

function firstSentence(text: string): string {
  return /^.*?[.!?](?=\s+[A-Z])/.exec(text)?.[0].slice(0, -1) ?? text.replace(/\.$/, '');
}

/** Control characters out of a device's mouth would act on the reader's terminal, or forge a header. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, ' ');
}
