import { limits } from '../limits.ts';
import { printkPrefixSource } from './console-text.ts';

/** A console line and who wrote it. */
export interface SourcedLine {
  /** `kernel` for what came with a `printk` prefix, `program` for everything else. */
  readonly source: 'kernel' | 'program';
  /** The line; for the kernel without its `printk` prefix. */
  readonly text: string;
  /** The `printk` prefix; empty for a program. */
  readonly prefix: string;
  /** The line was put together again after a kernel message had cut into it. */
  readonly joined: boolean;
}

/** What may be told to a {@link KernelMessageFilter}. */
export interface KernelMessageFilterOptions {
  /**
   * Whether an interrupted line and what came after the message are two lines after all, as when a
   * program prints a time stamp of its own. Default: always one line.
   */
  readonly separate?: (held: string, next: string) => boolean;
  /** Whether this start of a kernel message may itself have been interrupted. Default: never. */
  readonly resumable?: (text: string) => boolean;
}

const cutIn = new RegExp(`${printkPrefixSource}|\\*\\* \\d{1,10} printk messages dropped \\*\\* ?`);
const levelOnly = /^<\d{1,3}>/;
const maxHeld = 8;

/**
 * Takes what the kernel says apart from what programs say on the same console. The kernel writes
 * whole lines, but wherever the program's output happens to stand: "ok 3 te[    2.1] random: …\nst\n".
 * A line cut in two is put together again. Recognises messages by their time stamp
 * (CONFIG_PRINTK_TIME); without one nothing on the wire tells them apart.
 */
export class KernelMessageFilter {
  readonly #separate: (held: string, next: string) => boolean;
  readonly #resumable: (text: string) => boolean;
  #held: { readonly source: 'kernel' | 'program'; readonly prefix: string; readonly text: string }[] = [];

  constructor(options: KernelMessageFilterOptions = {}) {
    this.#separate = options.separate ?? (() => false);
    this.#resumable = options.resumable ?? (() => false);
  }

  /** Takes one console line and gives the lines it completes. */
  push(line: string): SourcedLine[] {
    const lines: SourcedLine[] = [];
    let cut = cutIn.exec(line) ?? levelOnly.exec(line);
    if (cut === null) {
      lines.push(this.#resume(lines, line));
      return lines;
    }
    if (cut.index > 0) this.#hold(lines, line.slice(0, cut.index));
    let prefix = cut[0];
    let message = line.slice(cut.index + prefix.length);
    while ((cut = cutIn.exec(message)) !== null && cut.index > 0 && this.#resumable(message.slice(0, cut.index))) {
      this.#push({ source: 'kernel', prefix, text: message.slice(0, cut.index) }, lines);
      prefix = cut[0];
      message = message.slice(cut.index + prefix.length);
    }
    lines.push({ source: 'kernel', text: message, prefix, joined: false });
    return lines;
  }

  /** What of the next line is the program's, and what a message had cut off from it. */
  peek(line: string): { readonly held: string; readonly program: string } {
    return { held: this.#held.at(-1)?.text ?? '', program: line.slice(0, cutIn.exec(line)?.index) };
  }

  /** Forgets interrupted lines, because they were dealt with as they stood, but for this rest of one. */
  replaceHeld(rest: string): void {
    this.#held = rest === '' ? [] : [{ source: 'program', prefix: '', text: rest }];
  }

  /** Ends the console and gives the lines that were still waiting for their rest. */
  end(): SourcedLine[] {
    const lines = this.#held.map((held) => ({ ...held, joined: false }));
    this.#held = [];
    return lines;
  }

  #hold(lines: SourcedLine[], fragment: string): void {
    const { source, prefix, text } = this.#resume(lines, fragment);
    this.#push({ source, prefix, text }, lines);
  }

  #push(held: { source: 'kernel' | 'program'; prefix: string; text: string }, lines: SourcedLine[]): void {
    if (this.#held.length >= maxHeld || held.text.length > limits.consoleLineBytes)
      lines.push({ ...held, joined: false });
    else this.#held.push(held);
  }

  #resume(lines: SourcedLine[], text: string): SourcedLine {
    for (let held = this.#held.pop(); held !== undefined; held = this.#held.pop()) {
      if (!this.#separate(held.text, text)) return { ...held, text: held.text + text, joined: true };
      lines.push({ ...held, joined: false });
    }
    return { source: 'program', text, prefix: '', joined: false };
  }
}
