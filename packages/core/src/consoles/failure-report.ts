import { limits } from '../limits.ts';
import { parsePrintk } from './console-text.ts';
import type { ConsoleLine } from './line-splitter.ts';
import { compilePattern, type CompiledPattern } from './patterns.ts';
import { isHarmless } from './regex-syntax.ts';
import type { FailureKind, FailureSignature } from './signatures.ts';

/** What a console said about one failure, from its first to its last line. */
export interface FailureReport {
  /** Id of the signature that was seen. */
  readonly signature: string;
  readonly kind: FailureKind;
  readonly severity: 'fatal' | 'warning';
  /** The line that was recognised, without its `printk` prefix. */
  readonly title: string;
  /** The report as it stood on the console, at most `limits.bootReportLines` lines. */
  readonly lines: readonly string[];
  /** Where the report starts, in bytes from the start of the console. */
  readonly offset: number;
  /** The report was longer than the bound. */
  readonly truncated: boolean;
}

interface ReadySignature {
  readonly signature: FailureSignature;
  readonly start: CompiledPattern;
  readonly end: CompiledPattern | undefined;
  seen: number;
}

/** Lines that open a report but are not yet what it is recognised by. */
const heading = /\[ cut here \]|={16,}$/;

/** Finds failure signatures in console lines and gathers each one's report. */
export class FailureScanner {
  readonly #signatures: readonly ReadySignature[];
  readonly #quickTest: RegExp | undefined;
  readonly #maxLines: number;
  #previous: ConsoleLine | undefined;

  constructor(signatures: readonly FailureSignature[], options: { readonly maxLines?: number } = {}) {
    this.#signatures = signatures.map((signature) => ({
      signature,
      start: compilePattern(signature.start),
      end: signature.end === undefined ? undefined : compilePattern(signature.end),
      seen: 0,
    }));
    this.#quickTest = quickTest(signatures);
    this.#maxLines = options.maxLines ?? limits.bootReportLines;
  }

  /** Looks at the next complete line: a report that starts with it, or nothing. */
  scan(line: ConsoleLine): OpenReport | undefined {
    const previous = this.#previous;
    this.#previous = line;
    const message = parsePrintk(line.text)?.message ?? line.text;
    if (this.#quickTest?.test(message) === false) return undefined;
    for (const ready of this.#signatures) {
      if (ready.start.find(message) === undefined) continue;
      ready.seen += 1;
      if (ready.seen < (ready.signature.occurrence ?? 1)) return undefined;
      const opening = previous !== undefined && heading.test(previous.text) ? [previous] : [];
      return new OpenReport(ready.signature, ready.end, message, [...opening, line], this.#maxLines);
    }
    return undefined;
  }
}

/** A report that is still being told. */
export class OpenReport {
  readonly signature: FailureSignature;
  readonly #end: CompiledPattern | undefined;
  readonly #title: string;
  readonly #offset: number;
  readonly #lines: string[];
  readonly #maxLines: number;
  #truncated = false;

  constructor(
    signature: FailureSignature,
    end: CompiledPattern | undefined,
    title: string,
    lines: readonly ConsoleLine[],
    maxLines: number,
  ) {
    this.signature = signature;
    this.#end = end;
    this.#title = title;
    this.#offset = lines[0]?.offset ?? 0;
    this.#lines = lines.map((line) => line.text);
    this.#maxLines = maxLines;
  }

  /** A warning without an end is told in one line. */
  get isOneLine(): boolean {
    return this.#end === undefined && this.signature.severity === 'warning';
  }

  /** Adds the next line. True when the report is complete with it, or full. */
  add(line: ConsoleLine): boolean {
    if (this.#lines.length >= this.#maxLines) {
      this.#truncated = true;
      return true;
    }
    this.#lines.push(line.text);
    return this.#end?.find(parsePrintk(line.text)?.message ?? line.text) !== undefined;
  }

  finish(): FailureReport {
    const { id, kind, severity } = this.signature;
    return {
      signature: id,
      kind,
      severity,
      title: this.#title,
      lines: [...this.#lines],
      offset: this.#offset,
      truncated: this.#truncated,
    };
  }
}

/** One expression over all start patterns, so that an ordinary line costs one look instead of forty. */
function quickTest(signatures: readonly FailureSignature[]): RegExp | undefined {
  const sources: string[] = [];
  for (const { start } of signatures) {
    if (typeof start === 'string') {
      sources.push(start.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`));
      continue;
    }
    const source = start instanceof RegExp ? start.source : start.regex;
    // Flags and back-references mean something else once expressions are put together; one that could take
    // long must not be put among them.
    if (![undefined, ''].includes(start.flags) || /\\[1-9k]/.test(source) || !isHarmless(source)) return undefined;
    sources.push(`(?:${source})`);
  }
  return sources.length === 0 ? undefined : new RegExp(sources.join('|'));
}
