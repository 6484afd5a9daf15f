import { bytesOfArgument } from '../model/argument.ts';

/** Options of {@link BytePipe}. */
export interface BytePipeOptions {
  /** A writer waits while more than this is unread. Default 64 KiB, as a pipe of Linux. */
  readonly capacityBytes?: number;
  /** Never hold the writer up before somebody reads, and keep only the latest `capacityBytes`. Default false. */
  readonly unblocked?: boolean;
}

/** A pipe in memory with back-pressure. Read once; leaving the loop drops the rest. */
export class BytePipe implements AsyncIterable<Uint8Array> {
  readonly #capacityBytes: number;
  #blocking: boolean;
  #chunks: Uint8Array[] = [];
  #unreadBytes = 0;
  #state: 'open' | 'ended' | 'dropped' = 'open';
  #error: unknown;
  #changed = Promise.withResolvers<void>();

  constructor({ capacityBytes = 64 * 1024, unblocked = false }: BytePipeOptions = {}) {
    this.#capacityBytes = capacityBytes;
    this.#blocking = !unblocked;
  }

  /** Whether what is written now reaches nobody. */
  get closed(): boolean {
    return this.#state !== 'open';
  }

  /** Writes bytes, or text as a command was given it; resolves when there is room again. Written to a closed pipe, they go nowhere. */
  async write(data: string | Uint8Array): Promise<void> {
    if (this.closed || data.length === 0) return;
    const chunk = typeof data === 'string' ? bytesOfArgument(data) : Buffer.from(data);
    this.#chunks.push(chunk);
    this.#unreadBytes += chunk.byteLength;
    this.#wake();
    while (!this.#blocking && this.#unreadBytes > this.#capacityBytes && this.#chunks.length > 1) this.#take();
    while (this.#blocking && !this.closed && this.#unreadBytes > this.#capacityBytes) await this.#changed.promise;
  }

  /** Ends the stream: its reader gets what is unread, then the end, or `error`. */
  end(error?: unknown): void {
    if (this.closed) return;
    this.#state = 'ended';
    this.#error = error;
    // A connection that is lost takes what was on its way with it.
    if (error !== undefined) this.#chunks = [];
    this.#wake();
  }

  /** Says that nobody will read: forgets what is unread and lets the writer go on. */
  drop(): void {
    this.#state = 'dropped';
    this.#chunks = [];
    this.#unreadBytes = 0;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    this.#blocking = true;
    try {
      for (;;) {
        const chunk = this.#take();
        if (chunk !== undefined) yield chunk;
        else if (this.#error !== undefined) throw this.#error;
        else if (this.closed) return;
        else await this.#changed.promise;
      }
    } finally {
      if (this.#state === 'open') this.drop();
    }
  }

  #take(): Uint8Array | undefined {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return undefined;
    this.#unreadBytes -= chunk.byteLength;
    this.#wake();
    return chunk;
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
