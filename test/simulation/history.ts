import { createHash } from 'node:crypto';

/** One thing that happened on a machine, to a process, or to the network. */
export interface HistoryEntry {
  /** Milliseconds since the start. */
  readonly at: number;
  /** Process and life, or `world`. */
  readonly by: string;
  readonly what: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What really happened, in its order. */
export class History {
  readonly entries: HistoryEntry[] = [];
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  add(by: string, what: string, details?: HistoryEntry['details']): void {
    this.entries.push({ at: this.#now(), by, what, ...(details !== undefined && { details }) });
  }
}

/** A hash of anything that is JSON. */
export function hashOf(...parts: readonly unknown[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(JSON.stringify(part)).update('\n');
  return hash.digest('hex').slice(0, 16);
}
