import { isBadOutcome, type TestNode, type TestOutcome } from './test-report.ts';
import type { TapResult } from './tap-line.ts';

/** A test while its group is still being read. */
export interface OpenTest {
  name: string;
  readonly number: number;
  outcome: TestOutcome;
  reason?: string;
  durationSeconds?: number;
  diagnostics: string[];
  children: TestNode[];
}

/** One level of results: its plan and what was reported so far. */
export class TapBlock {
  /** Where its lines start. */
  readonly column: number;
  readonly commented: boolean;
  /** From its "Subtest" line. */
  name: string | undefined;
  /** A "Subtest" line at this level, which may name the next group below it. */
  announced: string | undefined;
  plan: number | undefined;
  /** Why the plan is empty. */
  planReason: string | undefined;
  /** The group below that has ended and waits for its own result. */
  ended: TapBlock | undefined;
  readonly #tests = new Map<number, OpenTest>();
  #next = 1;
  /** Tests 1 to this one are all there. */
  #unbroken = 0;

  constructor(place: { readonly column: number; readonly commented: boolean }, name: string | undefined) {
    this.column = place.column;
    this.commented = place.commented;
    this.name = name;
  }

  /** The number the next result should have. */
  get next(): number {
    return this.#next;
  }

  get isEmpty(): boolean {
    return this.#tests.size === 0 && this.plan === undefined && this.ended === undefined;
  }

  get hasResults(): boolean {
    return this.#tests.size > 0;
  }

  /** There was a plan and every result of it came. */
  get isComplete(): boolean {
    return this.plan !== undefined && this.#unbroken >= this.plan;
  }

  find(number: number): OpenTest | undefined {
    return this.#tests.get(number);
  }

  /** Adds a result that is not there yet. */
  add(line: TapResult, diagnostics: string[], children: TestNode[]): OpenTest {
    const test: OpenTest = {
      name: line.name,
      number: line.number ?? this.#next,
      outcome: line.outcome,
      diagnostics,
      children,
      ...(line.reason === undefined ? {} : { reason: line.reason }),
      ...(line.durationSeconds === undefined ? {} : { durationSeconds: line.durationSeconds }),
    };
    this.#put(test);
    return test;
  }

  /** Adds a result that was planned, or must have been there, and never came. */
  addMissing(number: number, name: string, children: TestNode[] = [], diagnostics: string[] = []): void {
    this.#put({ name, number, outcome: 'missing', diagnostics, children });
  }

  /** The planned numbers that did not come, as first and last of each gap. */
  missing(): [first: number, last: number][] {
    const gaps: [number, number][] = [];
    let from = 1;
    if (this.isComplete) return gaps;
    for (const number of this.#numbers()) {
      if (number > (this.plan ?? 0)) break;
      if (number < from) continue;
      if (number > from) gaps.push([from, number - 1]);
      from = number + 1;
    }
    if (from <= (this.plan ?? 0)) gaps.push([from, this.plan ?? 0]);
    return gaps;
  }

  /** Its tests, by number. */
  tests(): TestNode[] {
    return this.#numbers().map((number) => this.#tests.get(number) as OpenTest);
  }

  #numbers(): number[] {
    return [...this.#tests.keys()].toSorted((a, b) => a - b);
  }

  #put(test: OpenTest): void {
    this.#tests.set(test.number, test);
    this.#next = Math.max(this.#next, test.number + 1);
    while (this.#tests.has(this.#unbroken + 1)) this.#unbroken += 1;
  }
}

/** The same test reported again: what went wrong once stays wrong. */
export function mergeRepeated(test: OpenTest, line: TapResult, children: readonly TestNode[]): void {
  if (isBadOutcome(line.outcome) && !isBadOutcome(test.outcome)) {
    test.outcome = line.outcome;
    if (line.reason !== undefined) test.reason = line.reason;
  }
  test.children.push(...children);
}

/** `3, 5-9`. */
export function describeGaps(gaps: readonly (readonly [number, number])[]): string {
  const shown = gaps.slice(0, 20).map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  return shown.join(', ') + (gaps.length > shown.length ? `, and ${gaps.length - shown.length} more gaps` : '');
}
