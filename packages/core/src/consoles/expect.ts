import { limits } from '../limits.ts';
import { KernelMessageFilter } from './kernel-messages.ts';
import { LineSplitter, type ConsoleLine } from './line-splitter.ts';
import type { CompiledPattern } from './patterns.ts';

/** What an expect found. */
export interface ExpectMatch {
  /** Which of the patterns. */
  readonly index: number;
  /** The match, then its groups. */
  readonly groups: readonly string[];
  /** What stood before the match in its line. */
  readonly before: string;
  /** The same without a kernel message that had cut into the line. */
  readonly programBefore: string;
}

/** A complete line that an expect passed over. */
export interface PassedLine {
  /** The line as it stood on the console. */
  readonly text: string;
  /** The program lines that were completed with it; without what the kernel said. */
  readonly programs: readonly string[];
  /** The line was longer than `limits.consoleLineBytes`; this is its first part. */
  readonly truncated: boolean;
}

/** What keeping a line costs beside its text; keeps a flood of empty lines bounded too. */
const lineOverhead = 64;

interface WaitingLine {
  readonly text: string;
  readonly truncated: boolean;
}

/**
 * The part of a console that nobody has looked for anything in yet, line by line and bounded.
 * Matching consumes: what was matched, and everything before it, is not matched again.
 */
export class ExpectWindow {
  readonly #splitter = new LineSplitter();
  readonly #programs = new KernelMessageFilter();
  readonly #maxBytes: number;
  #lines: WaitingLine[] = [];
  #size = 0;
  /** Characters of the unfinished line that were consumed already. */
  #consumed = 0;

  constructor(options: { /** Default `limits.consoleWindowBytes`. */ readonly maxBytes?: number } = {}) {
    this.#maxBytes = options.maxBytes ?? limits.consoleWindowBytes;
  }

  /** Takes the next bytes of the console. */
  feed(chunk: Uint8Array): void {
    for (const line of this.#splitter.feed(chunk)) this.#add(line);
  }

  /** The console ended: an unfinished line is a line. */
  end(): void {
    for (const line of this.#splitter.end()) this.#add(line);
  }

  /** Looks for the patterns, oldest line first; within a line the leftmost wins, then the first pattern. */
  match(patterns: readonly CompiledPattern[], passed?: (line: PassedLine) => void): ExpectMatch | undefined {
    for (let line = this.#lines[0]; line !== undefined; line = this.#lines[0]) {
      this.#drop();
      const found = this.#matchProgram(patterns, line.text);
      if (found !== undefined) {
        // Its end is still to come, even with nothing before it, as it is for a match in a line that had no end yet.
        this.#putBack(line.text.slice(found.end));
        return found.match;
      }
      // Only now: what is matched and consumed must not be joined to what comes after it.
      const parts = this.#programs.push(line.text);
      const programs = parts.filter((part) => part.source === 'program').map((part) => part.text);
      passed?.({ text: line.text, programs, truncated: line.truncated });
    }
    return this.#matchPartial(patterns);
  }

  /** What is waiting, as text; for messages that say where something stopped. */
  get tail(): string {
    return [...this.#lines.slice(-5).map((line) => line.text), this.partial].filter((text) => text !== '').join('\n');
  }

  /** The unfinished line, as far as it was not consumed. */
  get partial(): string {
    return (this.#splitter.partial?.text ?? '').slice(this.#consumed);
  }

  /** Takes what was not consumed of the unfinished line. */
  takePartial(): string {
    const text = this.partial;
    this.#consumed += text.length;
    return text;
  }

  #matchPartial(patterns: readonly CompiledPattern[]): ExpectMatch | undefined {
    const text = this.partial;
    if (text === '') return undefined;
    const found = this.#matchProgram(patterns, text);
    if (found === undefined) return undefined;
    this.#consumed += found.end;
    return found.match;
  }

  /** Matches a line as it stands, or together with what a kernel message had cut off from it. */
  #matchProgram(patterns: readonly CompiledPattern[], text: string): FoundMatch | undefined {
    const { held, program } = this.#programs.peek(text);
    const found = leftmost(patterns, text);
    const joined = held === '' ? undefined : leftmost(patterns, held + program);
    if (joined !== undefined && (found === undefined || joined.start < held.length)) {
      // What stands behind the match is still to be looked at, the part before the message included.
      this.#programs.replaceHeld(held.slice(joined.end));
      return { ...joined, end: Math.max(0, joined.end - held.length) };
    }
    if (found === undefined) return undefined;
    this.#programs.replaceHeld('');
    const programBefore = found.start <= program.length ? held + found.match.before : found.match.before;
    return { ...found, match: { ...found.match, programBefore } };
  }

  #add(line: ConsoleLine): void {
    const text = line.text.slice(this.#consumed);
    this.#consumed = 0;
    this.#lines.push({ text, truncated: line.truncated });
    this.#size += text.length + lineOverhead;
    while (this.#size > this.#maxBytes && this.#lines.length > 1) this.#drop();
  }

  #drop(): void {
    const line = this.#lines.shift();
    if (line !== undefined) this.#size -= line.text.length + lineOverhead;
  }

  #putBack(rest: string): void {
    this.#lines.unshift({ text: rest, truncated: false });
    this.#size += rest.length + lineOverhead;
  }
}

interface FoundMatch {
  readonly match: ExpectMatch;
  readonly start: number;
  /** Where what stands behind the match begins. */
  readonly end: number;
}

function leftmost(patterns: readonly CompiledPattern[], text: string): FoundMatch | undefined {
  let best: FoundMatch | undefined;
  for (const [index, pattern] of patterns.entries()) {
    const found = pattern.find(text);
    if (found === undefined || (best !== undefined && best.start <= found.start)) continue;
    const before = text.slice(0, found.start);
    best = {
      match: { index, groups: found.groups, before, programBefore: before },
      start: found.start,
      end: found.end,
    };
  }
  return best;
}
