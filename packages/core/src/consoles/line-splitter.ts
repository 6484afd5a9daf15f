import { limits } from '../limits.ts';
import { cleanConsoleText } from './console-text.ts';

/** One line of a console. */
export interface ConsoleLine {
  /** The line without its end, terminal escapes and control characters. */
  readonly text: string;
  /** Where the line starts, in bytes from the start of the console. */
  readonly offset: number;
  /** The line was longer than the bound; `text` is its first part. */
  readonly truncated: boolean;
}

const LF = 0x0a;
const CR = 0x0d;

/**
 * Turns console bytes into lines, in whatever pieces they come. LF, CRLF, CR CR LF and a lone CR
 * (a progress bar) each end a line. Holds at most `maxLineBytes` of an unfinished line.
 */
export class LineSplitter {
  readonly #maxLineBytes: number;
  #buffer = Buffer.alloc(256);
  #length = 0;
  #truncated = false;
  #afterCr = false;
  #lineOffset = 0;
  #fed = 0;

  constructor(options: { /** Default `limits.consoleLineBytes`. */ readonly maxLineBytes?: number } = {}) {
    this.#maxLineBytes = options.maxLineBytes ?? limits.consoleLineBytes;
  }

  /** Takes the next bytes and gives the lines that they complete. */
  feed(chunk: Uint8Array): ConsoleLine[] {
    const lines: ConsoleLine[] = [];
    let start = 0;
    for (let i = 0; i < chunk.length; i += 1) {
      const byte = chunk[i];
      if (byte !== LF && byte !== CR && !this.#afterCr) continue;
      if (byte === LF) {
        this.#append(chunk, start, i);
        lines.push(this.#take(this.#fed + i + 1));
        start = i + 1;
      } else if (byte === CR) {
        this.#append(chunk, start, i);
        this.#afterCr = true;
        start = i + 1;
      } else {
        // The CR was not part of a line end: what stands before it is a line, unless it is nothing.
        const line = this.#take(this.#fed + i);
        if (line.text !== '') lines.push(line);
        start = i;
      }
    }
    this.#append(chunk, start, chunk.length);
    this.#fed += chunk.length;
    return lines;
  }

  /** The unfinished line: a prompt, for example. `undefined` when there is none. */
  get partial(): ConsoleLine | undefined {
    if (this.#length === 0) return undefined;
    return { text: this.#text(), offset: this.#lineOffset, truncated: this.#truncated };
  }

  /** Ends the console: an unfinished line is a line now. */
  end(): ConsoleLine[] {
    return this.#length === 0 ? [] : [this.#take(this.#fed)];
  }

  #append(chunk: Uint8Array, start: number, end: number): void {
    if (start >= end) return;
    const room = this.#maxLineBytes - this.#length;
    const size = Math.min(end - start, room);
    if (size < end - start) this.#truncated = true;
    if (this.#length + size > this.#buffer.length) {
      const larger = Buffer.alloc(Math.min(this.#maxLineBytes, Math.max(2 * this.#buffer.length, this.#length + size)));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    this.#buffer.set(chunk.subarray(start, start + size), this.#length);
    this.#length += size;
  }

  #take(nextOffset: number): ConsoleLine {
    const line = { text: this.#text(), offset: this.#lineOffset, truncated: this.#truncated };
    this.#length = 0;
    this.#truncated = false;
    this.#afterCr = false;
    this.#lineOffset = nextOffset;
    return line;
  }

  #text(): string {
    return cleanConsoleText(this.#buffer.toString('utf8', 0, this.#length));
  }
}
