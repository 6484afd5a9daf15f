import { onAbort, throwIfAborted } from '../async.ts';
import type { Console } from '../contracts/console.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';

/** A console that lives in memory, seen from the machine's side: a VM, a board, or a test playing one. */
export class MemoryLine {
  readonly #name: string;
  readonly #onBreak: (() => void) | undefined;
  readonly #input: Uint8Array[] = [];
  #said = Buffer.alloc(1024);
  #saidBytes = 0;
  #ended = false;
  #holder: MemoryConsole | undefined;
  #wakeInput: () => void = () => {};

  /** @param onBreak - called for each serial break; without it the console can't send one. */
  constructor(name: string, onBreak?: () => void) {
    this.#name = name;
    this.#onBreak = onBreak;
  }

  /** Everything the machine has said. */
  get said(): Buffer {
    return Buffer.from(this.#said.subarray(0, this.#saidBytes));
  }

  /** How many bytes the machine has said: the offset of the next one. */
  get saidBytes(): number {
    return this.#saidBytes;
  }

  /** Whether the machine is gone. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The machine says something; text as UTF-8. Nothing is heard of a line that has ended. */
  say(data: string | Uint8Array): void {
    if (this.#ended) return;
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    while (this.#saidBytes + bytes.length > this.#said.length)
      this.#said = Buffer.concat([this.#said, Buffer.alloc(this.#said.length)]);
    this.#said.set(bytes, this.#saidBytes);
    this.#saidBytes += bytes.length;
    this.#holder?.wake();
  }

  /** What was said from `offset` on, up to now. */
  saidFrom(offset: number): Uint8Array {
    return Uint8Array.from(this.#said.subarray(offset, this.#saidBytes));
  }

  /** What the holder of the console sends, until the line ends or the signal aborts. */
  async *input(signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    using _abort = onAbort(signal, () => this.#wakeInput());
    while (!this.#ended && signal?.aborted !== true) {
      const chunk = this.#input.shift();
      if (chunk !== undefined) yield chunk;
      else await new Promise<void>((resolve) => (this.#wakeInput = resolve));
    }
  }

  /** Forgets what was sent and not read: the machine was without power. */
  dropInput(): void {
    this.#input.length = 0;
  }

  /** The console's side sends something to the machine. @internal */
  receive(data: Uint8Array): void {
    this.#input.push(Uint8Array.from(data));
    this.#wakeInput();
  }

  /** The machine is gone: outputs end after the last byte, input is refused. */
  end(): void {
    this.#ended = true;
    this.#wakeInput();
    this.#holder?.wake();
  }

  /** The way to the machine breaks: the holder's output and writes fail with `connection-lost`. */
  cut(): void {
    this.#holder?.cut();
  }

  /**
   * Opens the console, from any byte it ever said.
   * @throws `console-busy` when another holds it, `console-history-lost` when it never said so much.
   */
  open(offset = 0): MemoryConsole {
    if (this.#holder !== undefined) {
      throw new BringupError('console-busy', `The console of ${this.#name} is held by somebody else.`, {
        retryable: true,
      });
    }
    if (offset > this.#saidBytes) {
      throw new BringupError(
        'console-history-lost',
        `The console of ${this.#name} has said ${this.#saidBytes} bytes; byte ${offset} and later were asked for.`,
        { details: { offset, availableBytes: this.#saidBytes } },
      );
    }
    this.#holder = new MemoryConsole(this, this.#name, offset, () => (this.#holder = undefined));
    if (this.#onBreak === undefined) return this.#holder;
    const onBreak = this.#onBreak;
    return Object.assign(this.#holder, { sendBreak: async () => onBreak() });
  }
}

/** The near side of a {@link MemoryLine}. */
export class MemoryConsole implements Console {
  readonly output: AsyncIterable<Uint8Array>;
  readonly #line: MemoryLine;
  readonly #name: string;
  readonly #free: () => void;
  #disposed = false;
  #lost: BringupError | undefined;
  #wake: () => void = () => {};

  constructor(line: MemoryLine, name: string, offset: number, free: () => void) {
    this.#line = line;
    this.#name = name;
    this.#free = free;
    let iterated = false;
    this.output = {
      [Symbol.asyncIterator]: () => {
        if (iterated) throw new TypeError('The output of a console may be iterated once.');
        iterated = true;
        return this.#read(offset);
      },
    };
  }

  async write(data: Uint8Array, { signal }: CallOptions = {}): Promise<void> {
    throwIfAborted(signal, `writing to the console of ${this.#name}`);
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#disposed || this.#line.ended) {
      const why = this.#disposed ? 'was closed' : 'is closed: the machine has ended';
      throw new BringupError('console-closed', `The console of ${this.#name} ${why}.`);
    }
    this.#line.receive(data);
  }

  /** Lets go of the line: it can be opened again. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.wake();
    if (this.#lost === undefined) this.#free();
  }

  /** @internal There may be something to read. */
  wake(): void {
    this.#wake();
  }

  /** Breaks the way to the machine: output and writes fail with `connection-lost`. */
  cut(): void {
    if (this.#disposed) return;
    this.#lost = new BringupError('connection-lost', `The connection to the console of ${this.#name} was lost.`, {
      retryable: true,
    });
    this.#free();
    this.wake();
  }

  async *#read(from: number): AsyncGenerator<Uint8Array, void, void> {
    for (let offset = from; !this.#disposed;) {
      if (this.#lost !== undefined) throw this.#lost;
      const bytes = this.#line.saidFrom(offset);
      offset += bytes.length;
      if (bytes.length > 0) yield bytes;
      else if (this.#line.ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
