import { BringupError, limits } from '@bringup/core';
import type { Clock, TransferOptions } from '@bringup/core';

/** Far slower than any medium: what a target may take at most to flush and hash what it has got. */
const slowestBytesPerMs = 1024;

/** Counts the bytes of one transfer: reports progress, and notices when nothing moves any more. */
export class TransferWatch implements Disposable {
  #transferredBytes = 0;
  /** May be known only once the transfer is under way. */
  totalBytes: number;
  readonly #what: string;
  readonly #clock: Clock;
  readonly #onProgress: TransferOptions['onProgress'];
  readonly #stalled: (error: BringupError) => void;
  #reportedAt: number;
  #movedAt: number;
  #allowedMs: number | undefined;
  #timer: Disposable | undefined;

  constructor(
    clock: Clock,
    what: string,
    totalBytes: number,
    onProgress: TransferOptions['onProgress'],
    stalled: (error: BringupError) => void,
  ) {
    this.#clock = clock;
    this.#what = what;
    this.totalBytes = totalBytes;
    this.#onProgress = onProgress;
    this.#stalled = stalled;
    this.#reportedAt = clock.now();
    this.#movedAt = this.#reportedAt;
    this.expectBytes();
  }

  get transferredBytes(): number {
    return this.#transferredBytes;
  }

  moved(bytes: number): void {
    this.#transferredBytes += bytes;
    this.#movedAt = this.#clock.now();
    if (this.#onProgress !== undefined && this.#movedAt - this.#reportedAt >= limits.progressIntervalMs) this.#report();
  }

  /** From now on bytes have to move. */
  expectBytes(): void {
    this.#allow(limits.transferStallMs);
  }

  /** From now on the far side flushes and hashes: that takes longer the more it has got. */
  expectProof(): void {
    this.#allow(limits.transferStallMs + Math.max(this.#transferredBytes, this.totalBytes) / slowestBytesPerMs);
  }

  /** From now on it is our own side that takes its time. */
  pause(): void {
    this.#allowedMs = undefined;
  }

  /** The transfer is complete: reports the last progress. */
  finish(): void {
    this.#report();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#allowedMs = undefined;
  }

  #report(): void {
    this.#reportedAt = this.#clock.now();
    this.#onProgress?.({ transferredBytes: this.#transferredBytes, totalBytes: this.totalBytes });
  }

  #allow(delayMs: number): void {
    this.#allowedMs = delayMs;
    this.#movedAt = this.#clock.now();
    this.#timer ??= this.#clock.timer(delayMs, () => this.#look());
  }

  /** One timer looks now and then, which costs less than setting one for every chunk. */
  #look(): void {
    this.#timer = undefined;
    if (this.#allowedMs === undefined) return;
    const idleMs = this.#clock.now() - this.#movedAt;
    if (idleMs >= this.#allowedMs) {
      this.#stalled(
        new BringupError('transfer-failed', `${this.#what} stalled: nothing moved for ${idleMs} ms.`, {
          retryable: true,
        }),
      );
    } else {
      this.#timer = this.#clock.timer(this.#allowedMs - idleMs, () => this.#look());
    }
  }
}
