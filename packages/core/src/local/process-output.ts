import type { Readable } from 'node:stream';

/** Options of {@link ProcessOutput}. */
export interface ProcessOutputOptions {
  /**
   * Until somebody reads, take everything the process writes and keep its latest bytes only.
   * Default: take nothing, so that back-pressure reaches the process.
   */
  readonly keepUnreadBytes?: number;
}

/**
 * An output stream of a child process, read once and no faster than the loop takes it. Leaving the
 * loop drops the rest without closing the pipe, which would kill the process that writes to it.
 */
export class ProcessOutput implements AsyncIterable<Uint8Array> {
  readonly #stream: Readable;
  readonly #keepBytes: number;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #reading = false;

  constructor(stream: Readable, { keepUnreadBytes }: ProcessOutputOptions = {}) {
    this.#stream = stream;
    this.#keepBytes = keepUnreadBytes ?? 0;
    // Without any listener, Node throws away what is unread when the process exits.
    if (keepUnreadBytes === undefined) stream.on('readable', doNothing);
    else stream.on('data', this.#keep);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    if (this.#reading) throw new TypeError('An output stream can be read once.');
    this.#reading = true;
    this.#stream.off('data', this.#keep).pause();
    this.#stream.on('readable', doNothing);
    try {
      yield* this.#kept.splice(0);
      if (!this.#stream.readableEnded) yield* this.#stream.iterator({ destroyOnReturn: false });
    } finally {
      this.#discard();
    }
  }

  /** Whether all has been read and nobody can write any more. */
  get ended(): boolean {
    return this.#stream.readableEnded;
  }

  /** Lets the stream run to its end when nobody is reading it. */
  drop(): void {
    if (!this.#reading) this.#discard();
  }

  #discard(): void {
    this.#stream.off('readable', doNothing).resume();
  }

  readonly #keep = (chunk: Uint8Array): void => {
    this.#kept.push(chunk);
    this.#keptBytes += chunk.byteLength;
    while (this.#keptBytes > this.#keepBytes && this.#kept.length > 1) {
      this.#keptBytes -= this.#kept.shift()?.byteLength ?? 0;
    }
  };
}

function doNothing(): void {}
