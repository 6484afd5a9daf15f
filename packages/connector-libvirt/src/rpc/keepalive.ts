import type { Clock, Timer } from '@bringup/core';

/** What {@link Keepalive} needs. */
export interface KeepaliveOptions {
  readonly clock: Clock;
  /** Silence after which a ping is sent, and between pings. */
  readonly intervalMs: number;
  /** Pings without any answer after which the peer counts as gone. */
  readonly misses: number;
  readonly ping: () => void;
  readonly lost: (silentMs: number) => void;
}

/** Pings a silent peer and tells when it stays silent. Any byte from the peer counts as an answer. */
export class Keepalive implements Disposable {
  readonly #options: KeepaliveOptions;
  #timer: Timer | undefined;
  #heardSince = true;
  #unanswered = 0;
  #suspended = false;

  constructor(options: KeepaliveOptions) {
    this.#options = options;
    this.#arm();
  }

  /** The peer said something. */
  heard(): void {
    this.#heardSince = true;
  }

  /** While we don't read, silence means nothing. */
  suspend(suspended: boolean): void {
    this.#suspended = suspended;
    this.#heardSince = true;
  }

  #arm(): void {
    this.#timer = this.#options.clock.timer(this.#options.intervalMs, () => this.#tick(), { background: true });
  }

  #tick(): void {
    if (this.#heardSince || this.#suspended) {
      this.#heardSince = false;
      this.#unanswered = 0;
    } else if (this.#unanswered >= this.#options.misses) {
      this.#options.lost((this.#unanswered + 1) * this.#options.intervalMs);
      return;
    } else {
      this.#unanswered += 1;
      this.#options.ping();
    }
    this.#arm();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }
}
