import type { Outcome, Report } from './outcome.ts';

interface Waiting {
  readonly shape: string;
  readonly rank: number;
  readonly seq: number;
  readonly deadlineAt: number | undefined;
}

/** Nobody is overtaken: of those who ask for the same, the first in line is served first. */
export function checkTurns({ audit, plan }: Outcome, report: Report): void {
  // A clock that is wrong makes ranks that are wrong: who came when is not known then.
  if (plan.faults.some(({ kind }) => kind === 'clock-jump')) return;
  const waiting = new Map<string, Waiting>();
  for (const { what, at, by, row } of audit) {
    const id = String(row['id']);
    if (what === 'waiting+') {
      waiting.set(id, {
        shape: String(row['shape']),
        rank: Number(row['rank']),
        seq: Number(row['seq']),
        deadlineAt: row['deadline_at'] === null ? undefined : Number(row['deadline_at']),
      });
    } else if (what === 'reservation+') {
      const served = waiting.get(id);
      if (served === undefined) continue;
      for (const [other, { shape, rank, seq, deadlineAt }] of waiting) {
        const before = rank < served.rank || (rank === served.rank && seq < served.seq);
        const stillWanted = deadlineAt === undefined || deadlineAt > Number(row['created_at']);
        if (other !== id && shape === served.shape && before && stillWanted) {
          report(`${id} was served before ${other}, whose turn it was (at ${at}, by ${by})`);
        }
      }
    }
    if (what === 'waiting-' || (what === 'waiting' && row['to'] !== 'waiting')) waiting.delete(id);
  }
}
