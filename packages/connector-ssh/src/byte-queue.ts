/** What a {@link ByteQueue} does when its reader is slower than what fills it. */
export interface ByteQueueOptions {
  readonly capacityBytes: number;
  /** Called when the queue has filled up; without it the oldest bytes are dropped instead. */
  readonly onFull?: () => void;
  /** Called when a full queue has room again, and when its reader leaves. */
  readonly onRoom?: () => void;
}

/** Chunks are joined up to this. */
const joinedBytes = 256 * 1024;

/** A reader that keeps up gets whole packets of ssh2 as they are: joining two costs more than it saves. */
const keepingUpBytes = 4 * 32 * 1024;

/** Bytes on their way from a channel to one reader. */
export class ByteQueue implements AsyncIterable<Uint8Array> {
  readonly #options: ByteQueueOptions;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #full = false;
  #discarding = false;
  #ended = false;
  #error: Error | undefined;
  #iterated = false;
  #wake: (() => void) | undefined;

  constructor(options: ByteQueueOptions) {
    this.#options = options;
  }

  push(chunk: Uint8Array): void {
    if (this.#discarding || this.#ended) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes >= this.#options.capacityBytes) this.#overflow();
    this.#notify();
  }

  /** No more bytes will come; with an error, the reader gets it after those that are here. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#notify();
  }

  /** Fails the reader at once, dropping what it has not read. */
  fail(error: Error): void {
    this.#chunks = [];
    this.#bytes = 0;
    this.#ended = true;
    this.#error ??= error;
    this.#notify();
  }

  /** Drops what is here and what is still to come. */
  discard(): void {
    this.#discarding = true;
    this.#chunks = [];
    this.#bytes = 0;
    this.#room();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    if (this.#iterated) throw new TypeError('The output of a process can be read once only.');
    this.#iterated = true;
    try {
      for (;;) {
        const chunk = this.#take();
        if (chunk !== undefined) {
          if (this.#full && this.#bytes < this.#options.capacityBytes / 2) this.#room();
          yield chunk;
        } else if (this.#ended) {
          if (this.#error !== undefined) throw this.#error;
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } finally {
      this.discard();
    }
  }

  /** What waits, joined up to a bound: a slow reader gets fewer and larger pieces. */
  #take(): Uint8Array | undefined {
    const most = this.#bytes < keepingUpBytes ? keepingUpBytes / 4 : joinedBytes;
    let [count, bytes] = [0, 0];
    for (const chunk of this.#chunks) {
      if (count > 0 && bytes + chunk.byteLength > most) break;
      count += 1;
      bytes += chunk.byteLength;
    }
    this.#bytes -= bytes;
    const taken = this.#chunks.splice(0, count);
    return taken.length > 1 ? Buffer.concat(taken, bytes) : taken[0];
  }

  #overflow(): void {
    if (this.#options.onFull === undefined) {
      while (this.#bytes > this.#options.capacityBytes && this.#chunks.length > 1) {
        this.#bytes -= this.#chunks.shift()?.byteLength ?? 0;
      }
    } else if (!this.#full) {
      this.#full = true;
      this.#options.onFull();
    }
  }

  #room(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#options.onRoom?.();
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
