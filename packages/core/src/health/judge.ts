import { isBringupError, type BringupError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import type { StoredStatus } from '../pool/status.ts';

/** A target that says no: asking again at once changes nothing, and can lock an account. */
const refusals: readonly ErrorCode[] = ['authentication-failed', 'host-key-unknown', 'host-key-changed'];

/** Whether a target was there and would not let us in. */
export function isRefusal(error: BringupError): boolean {
  return isBringupError(error, ...refusals);
}

/** What a look came to. */
export type Outcome =
  | { readonly type: 'answered'; readonly hypervisorError?: BringupError }
  | { readonly type: 'failed'; readonly error: BringupError };

/** What is remembered of a resource from look to look. Times are milliseconds since the Unix epoch. */
export interface Standing {
  readonly status: StoredStatus;
  /** Failed looks in a row. */
  readonly failures: number;
  /** The same for the hypervisor alone. */
  readonly hypervisorFailures: number;
  /** Answers in a row of a resource that is not online. */
  readonly answers: number;
  readonly answeringSince: number;
  /** When it went offline, lately. */
  readonly outages: readonly number[];
}

/** What follows from a look. */
export interface Verdict {
  readonly standing: Standing;
  /** Set when its status is to change. */
  readonly change?: { readonly status: StoredStatus; readonly reason: string };
  /** Look again after this long; undefined: when its turn comes. */
  readonly againInMs?: number;
}

/** The standing of a resource nobody has looked at yet. */
export function initialStanding(status: StoredStatus): Standing {
  return { status, failures: 0, hypervisorFailures: 0, answers: 0, answeringSince: 0, outages: [] };
}

/**
 * Judges a look. One lost packet is no outage: three retries with growing pauses come before `offline`.
 * One answer is no recovery: it takes two, and one that went offline again and again has to answer for
 * a while.
 */
export function judge(standing: Standing, outcome: Outcome, now: number): Verdict {
  return outcome.type === 'answered'
    ? judgeAnswer(standing, outcome.hypervisorError, now)
    : judgeFailure(standing, outcome.error, now);
}

function judgeFailure(standing: Standing, error: BringupError, now: number): Verdict {
  const failures = standing.failures + 1;
  const failed = { ...standing, failures, answers: 0 };
  if (standing.status === 'offline') {
    return { standing: failed, againInMs: isRefusal(error) ? limits.healthRefusedLookMs : limits.healthOfflineLookMs };
  }
  if (!isRefusal(error) && failures <= limits.healthRetries) {
    return { standing: failed, againInMs: backoffMs(failures) };
  }
  const outages = [...recent(standing.outages, now), now];
  const tries = failures === 1 ? '' : ` (${failures} tries)`;
  return {
    standing: { ...failed, status: 'offline', outages },
    change: { status: 'offline', reason: `${error.message}${tries}` },
    againInMs: isRefusal(error) ? limits.healthRefusedLookMs : limits.healthOfflineLookMs,
  };
}

function judgeAnswer(standing: Standing, hypervisorError: BringupError | undefined, now: number): Verdict {
  const { status, failures, hypervisorFailures } = standing;
  // What nearly every look finds: as it was.
  if (status === 'online' && failures + hypervisorFailures === 0 && hypervisorError === undefined) return { standing };
  const answered: Standing = {
    ...standing,
    failures: 0,
    answers: standing.answers + 1,
    answeringSince: standing.answers === 0 ? now : standing.answeringSince,
  };
  if (standing.status === 'offline') return judgeReturn(answered, now);
  if (hypervisorError !== undefined) return judgeHypervisor(answered, hypervisorError);
  const well: Standing = { ...answered, hypervisorFailures: 0 };
  if (standing.status === 'online') return { standing: well };
  // The hypervisor is back, or nothing was known: one more answer makes it sure.
  if (standing.status === 'degraded' && well.answers < 2) return { standing: well, againInMs: limits.healthRecheckMs };
  return { standing: { ...well, status: 'online' }, change: { status: 'online', reason: 'it answers' } };
}

function judgeHypervisor(answered: Standing, error: BringupError): Verdict {
  const hypervisorFailures = answered.hypervisorFailures + 1;
  const failing: Standing = { ...answered, hypervisorFailures, answers: 0 };
  if (answered.status === 'degraded') return { standing: failing };
  if (hypervisorFailures <= limits.healthHypervisorRetries) {
    return { standing: failing, againInMs: backoffMs(hypervisorFailures) };
  }
  return {
    standing: { ...failing, status: 'degraded' },
    change: { status: 'degraded', reason: `its hypervisor does not answer: ${error.message}` },
  };
}

function judgeReturn(answered: Standing, now: number): Verdict {
  const outages = recent(answered.outages, now);
  const remaining = answered.answeringSince + calmMs(outages.length) - now;
  if (answered.answers < 2 || remaining > 0) {
    return { standing: { ...answered, outages }, ...(remaining < limits.healthLookMs && again(remaining)) };
  }
  return {
    standing: { ...answered, outages, status: 'online', answers: 0, hypervisorFailures: 0 },
    change: { status: 'online', reason: 'it answers again' },
  };
}

function again(remainingMs: number): { readonly againInMs: number } {
  return { againInMs: Math.max(limits.healthRecheckMs, remainingMs) };
}

/** Pause before a retry, by how many tries have failed. */
function backoffMs(failures: number): number {
  return limits.healthBackoffMs * 2 ** (failures - 1);
}

/** How long a resource with so many outages of late must answer before it counts as back. */
function calmMs(outages: number): number {
  return outages < 2 ? 0 : Math.min(limits.healthCalmMaxMs, limits.healthCalmMs * 4 ** (outages - 2));
}

function recent(outages: readonly number[], now: number): readonly number[] {
  return outages.filter((at) => at > now - limits.healthFlapWindowMs);
}
