import type { Clock } from '../contracts/runtime.ts';

interface Turn {
  readonly id: string;
  dueMs: number;
  /** Its place in the heap; -1 while it is not in it. */
  place: number;
}

/**
 * Whose turn it is: one timer for any number of things that come round again. Each is in it at most
 * once, so what is late does not pile up.
 *
 * A turn is kept from one round to the next: a map whose entries come and go is rebuilt all the time,
 * and V8 keeps what was in its older states far longer than anything else does.
 */
export class Schedule implements Disposable {
  readonly #clock: Clock;
  readonly #due: (id: string) => void;
  /** Each turn is due no later than the two below it. */
  readonly #heap: Turn[] = [];
  readonly #turns = new Map<string, Turn>();
  #timer: Disposable | undefined;
  /** When the timer fires. */
  #timerDueMs = 0;
  #lastNow = -Infinity;

  /** @param due - called when a turn has come; it is no longer in the schedule then. */
  constructor(clock: Clock, due: (id: string) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  /** Gives `id` its only turn, `delayMs` from now. */
  set(id: string, delayMs: number): void {
    let turn = this.#turns.get(id);
    if (turn === undefined) {
      turn = { id, dueMs: 0, place: -1 };
      this.#turns.set(id, turn);
    } else this.#remove(turn);
    turn.dueMs = this.#now() + delayMs;
    this.#rise(turn, this.#heap.length);
    this.#arm();
  }

  delete(id: string): void {
    const turn = this.#turns.get(id);
    if (turn === undefined) return;
    this.#remove(turn);
    this.#turns.delete(id);
  }

  has(id: string): boolean {
    return (this.#turns.get(id)?.place ?? -1) >= 0;
  }

  /** How many turns have been due for longer than `byMs`: their process is too busy. */
  countLate(byMs: number): number {
    const before = this.#now() - byMs;
    return this.#heap.filter(({ dueMs }) => dueMs < before).length;
  }

  /** The time. Where the clock was set back, all turns go with it: nobody waits until it is again as late as it was. */
  #now(): number {
    const now = this.#clock.now();
    if (now < this.#lastNow) {
      const by = now - this.#lastNow;
      for (const turn of this.#heap) turn.dueMs += by;
      this.#timerDueMs += by;
    }
    this.#lastNow = now;
    return now;
  }

  #arm(): void {
    const next = this.#heap[0];
    if (next === undefined || (this.#timer !== undefined && this.#timerDueMs <= next.dueMs)) return;
    this.#timer?.[Symbol.dispose]();
    const delayMs = Math.max(0, next.dueMs - this.#now());
    this.#timer = this.#clock.timer(delayMs, () => this.#run(), { background: true });
    this.#timerDueMs = next.dueMs;
  }

  #run(): void {
    this.#timer = undefined;
    const now = this.#now();
    for (let turn = this.#heap[0]; turn !== undefined && turn.dueMs <= now; turn = this.#heap[0]) {
      this.#remove(turn);
      this.#due(turn.id);
    }
    this.#arm();
  }

  #remove(turn: Turn): void {
    const { place } = turn;
    if (place < 0) return;
    turn.place = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === turn) return;
    // The last one takes the place, and goes up or down from there.
    this.#rise(last, place);
    if (last.place === place) this.#sink(last, place);
  }

  /** Puts a turn where it belongs, at `place` or above. */
  #rise(turn: Turn, place: number): void {
    let at = place;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = this.#heap[above];
      if (parent === undefined || parent.dueMs <= turn.dueMs) break;
      this.#put(parent, at);
      at = above;
    }
    this.#put(turn, at);
  }

  /** Puts a turn where it belongs, at `place` or below. */
  #sink(turn: Turn, place: number): void {
    let at = place;
    for (;;) {
      const left = this.#heap[2 * at + 1];
      const right = this.#heap[2 * at + 2];
      const smaller = right !== undefined && left !== undefined && right.dueMs < left.dueMs ? right : left;
      if (smaller === undefined || smaller.dueMs >= turn.dueMs) break;
      const below = smaller.place;
      this.#put(smaller, at);
      at = below;
    }
    this.#put(turn, at);
  }

  #put(turn: Turn, place: number): void {
    this.#heap[place] = turn;
    turn.place = place;
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#turns.clear();
    this.#heap.length = 0;
  }
}
