import type { Clock } from '../contracts/runtime.ts';

interface Turn {
  readonly id: string;
  readonly dueMs: number;
}

/**
 * Whose turn it is: one timer for any number of things that come round again. Each is in it at most
 * once, so what is late does not pile up.
 */
export class Schedule implements Disposable {
  readonly #clock: Clock;
  readonly #due: (id: string) => void;
  /** A heap: each turn is due no later than the two below it. May hold turns that were moved since. */
  readonly #heap: Turn[] = [];
  readonly #turns = new Map<string, Turn>();
  #timer: { readonly dueMs: number; readonly timer: Disposable } | undefined;

  /** @param due - called when a turn has come; it is no longer in the schedule then. */
  constructor(clock: Clock, due: (id: string) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  /** Gives `id` its only turn, `delayMs` from now. */
  set(id: string, delayMs: number): void {
    const turn = { id, dueMs: this.#clock.now() + delayMs };
    this.#turns.set(id, turn);
    this.#push(turn);
    this.#arm();
  }

  delete(id: string): void {
    this.#turns.delete(id);
  }

  has(id: string): boolean {
    return this.#turns.has(id);
  }

  #arm(): void {
    const next = this.#heap[0];
    if (next === undefined || (this.#timer !== undefined && this.#timer.dueMs <= next.dueMs)) return;
    this.#timer?.timer[Symbol.dispose]();
    const delayMs = Math.max(0, next.dueMs - this.#clock.now());
    const timer = this.#clock.timer(delayMs, () => this.#run(), { background: true });
    this.#timer = { dueMs: next.dueMs, timer };
  }

  #run(): void {
    this.#timer = undefined;
    const now = this.#clock.now();
    for (let turn = this.#heap[0]; turn !== undefined && turn.dueMs <= now; turn = this.#heap[0]) {
      this.#pop();
      if (this.#turns.get(turn.id) !== turn) continue;
      this.#turns.delete(turn.id);
      this.#due(turn.id);
    }
    this.#arm();
  }

  #push(turn: Turn): void {
    const heap = this.#heap;
    let at = heap.push(turn) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.dueMs <= turn.dueMs) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = turn;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      const child = right !== undefined && left !== undefined && right.dueMs < left.dueMs ? 2 * at + 2 : 2 * at + 1;
      const smaller = heap[child];
      if (smaller === undefined || smaller.dueMs >= last.dueMs) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = last;
  }

  [Symbol.dispose](): void {
    this.#timer?.timer[Symbol.dispose]();
    this.#timer = undefined;
    this.#turns.clear();
    this.#heap.length = 0;
  }
}
