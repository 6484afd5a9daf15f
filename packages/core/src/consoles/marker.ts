import type { Random } from '../contracts/runtime.ts';

/** A word that is typed in two halves, so that its echo is not taken for the answer to it. */
export interface Marker {
  readonly typed: string;
  readonly answer: string;
}

/** A marker nobody has used yet. */
export function newMarker(random: Random): Marker {
  const id = Math.floor(random.next() * 36 ** 8)
    .toString(36)
    .padStart(8, '0');
  return { typed: `'bring''up-${id}'`, answer: `bringup-${id}` };
}
