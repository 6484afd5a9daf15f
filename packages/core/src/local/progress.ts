import type { Clock } from '../contracts/runtime.ts';
import type { TransferOptions } from '../contracts/shell.ts';
import { limits } from '../limits.ts';

/** Counts the bytes of a transfer for its listener, at most about ten times a second. */
export class ProgressReporter {
  readonly #clock: Clock;
  readonly #totalBytes: number;
  readonly #report: TransferOptions['onProgress'];
  #transferredBytes = 0;
  #reportedAtMs = -Infinity;

  constructor(clock: Clock, totalBytes: number, report: TransferOptions['onProgress']) {
    this.#clock = clock;
    this.#totalBytes = totalBytes;
    this.#report = report;
  }

  /** Counts the next bytes. */
  add(bytes: number): void {
    this.#transferredBytes += bytes;
    const nowMs = this.#clock.now();
    if (nowMs - this.#reportedAtMs < limits.progressIntervalMs) return;
    this.#reportedAtMs = nowMs;
    this.#say();
  }

  /** Reports the end, whatever was reported before. */
  finish(): void {
    this.#transferredBytes = this.#totalBytes;
    this.#say();
  }

  #say(): void {
    this.#report?.({ transferredBytes: this.#transferredBytes, totalBytes: this.#totalBytes });
  }
}
