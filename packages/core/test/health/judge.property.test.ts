import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BringupError, limits } from '@bringup/core';
import { initialStanding, judge, type Outcome, type Standing } from '../../src/health/judge.ts';

const answered: Outcome = { type: 'answered' };
const failed: Outcome = { type: 'failed', error: new BringupError('connection-failed', 'no') };
const refused: Outcome = { type: 'failed', error: new BringupError('authentication-failed', 'no') };

interface Seen {
  readonly at: number;
  readonly outcome: Outcome;
  readonly standing: Standing;
}

/** Judges looks one after the other, each as soon as the verdict before wants it. */
function play(outcomes: readonly Outcome[]): Seen[] {
  let standing = initialStanding('online');
  let now = 1_000_000;
  return outcomes.map((outcome) => {
    const verdict = judge(standing, outcome, now);
    standing = verdict.standing;
    const seen = { at: now, outcome, standing };
    now += verdict.againInMs ?? limits.healthLookMs;
    return seen;
  });
}

describe('the judgement of looks', () => {
  it('is never offline before a fourth failure in a row, and always after it', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (answers) => {
        let failures = 0;
        let was = 'online';
        for (const { outcome, standing } of play(answers.map((answers_) => (answers_ ? answered : failed)))) {
          failures = outcome.type === 'failed' ? failures + 1 : 0;
          if (was === 'online') expect(standing.status).toBe(failures > limits.healthRetries ? 'offline' : 'online');
          if (was === 'offline' && standing.status === 'online') expect(standing.failures).toBe(0);
          was = standing.status;
        }
      }),
      { numRuns: 500, seed: 3 },
    );
  });

  it('is never online again after a single answer', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (answers) => {
        const seen = play(answers.map((answers_) => (answers_ ? answered : failed)));
        for (const [index, { standing }] of seen.entries()) {
          const before = seen[index - 1];
          if (before?.standing.status !== 'offline' || standing.status !== 'online') continue;
          expect(before.outcome).toBe(answered);
        }
      }),
      { numRuns: 500, seed: 4 },
    );
  });

  it('lets a machine that flaps for ten minutes change its status a few times only', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 20, maxLength: 60 }), (runs) => {
        const outcomes = runs.flatMap((length, index) =>
          Array.from({ length }, () => (index % 2 === 0 ? answered : failed)),
        );
        const seen = play(outcomes);
        const from = seen[0]?.at ?? 0;
        const within = seen.filter(({ at }) => at < from + limits.healthFlapWindowMs);
        const changes = within.filter(
          ({ standing }, index) => standing.status !== (within[index - 1]?.standing.status ?? 'online'),
        );
        // Offline at once, one quick return, then calm of 15 s, 60 s, 240 s and 300 s before each next one.
        expect(changes.length).toBeLessThanOrEqual(9);
      }),
      { numRuns: 200, seed: 5 },
    );
  });

  it('asks a target that refuses the login rarely, and not at once again', () => {
    const { change, againInMs } = judge(initialStanding('online'), refused, 0);
    expect(change).toMatchObject({ status: 'offline' });
    expect(againInMs).toBe(limits.healthRefusedLookMs);
  });
});
