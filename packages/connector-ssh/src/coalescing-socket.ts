import { Socket } from 'node:net';

/**
 * A TCP socket without Nagle's delay that still sends what is written in one turn of the event
 * loop as one piece. ssh2 writes each packet in three parts (length, body, tag), which would
 * otherwise be three system calls and three segments.
 */
export class CoalescingSocket extends Socket {
  #corked = false;

  override write(...args: readonly unknown[]): boolean {
    if (!this.#corked) {
      this.#corked = true;
      this.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.uncork();
      });
    }
    return Reflect.apply(super.write, this, args) as boolean;
  }
}
