import type { ScoredCandidate } from '../model/requirements.ts';
import type { CandidateRow } from '../pool/suitable.ts';

/** How much each part of a score counts. A preferred resource that fits always wins. */
export const scoreWeights: Readonly<Record<'preferred' | 'idle', number>> = { preferred: 9, idle: 1 };

/** The candidates by score, the best first; equals in the order of their ids. */
export function ranked(candidates: readonly CandidateRow[], preferred: string | undefined): ScoredCandidate[] {
  return candidates
    .map((row) => score(row, preferred))
    .sort((a, b) => b.score - a.score || (a.resourceId < b.resourceId ? -1 : 1));
}

function score(row: CandidateRow, preferred: string | undefined): ScoredCandidate {
  const parts = { preferred: row.id === preferred ? 100 : 0, idle: 100 * (1 - row.load) };
  const total = scoreWeights.preferred + scoreWeights.idle;
  return {
    resourceId: row.id,
    name: row.name,
    parts,
    score: (parts.preferred * scoreWeights.preferred + parts.idle * scoreWeights.idle) / total,
  };
}
