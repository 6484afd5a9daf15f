import { KernelMessageFilter, type SourcedLine } from '../consoles/kernel-messages.ts';
import { LineSplitter, type ConsoleLine } from '../consoles/line-splitter.ts';
import { limits } from '../limits.ts';
import { TapDocument, type TapRun } from './tap-document.ts';
import { couldBeTap, parseTapLine, type TapLine } from './tap-line.ts';
import { countTests, type TestNode, type TestReport } from './test-report.ts';

/** What may be told to a {@link TapParser}. */
export interface TapParserOptions {
  /** Output without a plan is incomplete. Default true. */
  readonly requirePlan?: boolean;
  /** Called for each result as it comes, with the names of the groups it is in as far as they are known. */
  readonly onResult?: (test: TestNode, path: readonly string[]) => void;
  /** Default `limits.maxTestResults`. */
  readonly maxResults?: number;
}

/** Documents of one source: the kernel (KUnit) or programs (kselftest and everything else). */
interface Channel {
  current: TapDocument | undefined;
  readonly documents: TapDocument[];
}

/**
 * Reads test results from what a console or a command prints: KTAP as KUnit and kselftest print it
 * (https://docs.kernel.org/dev-tools/ktap.html) and TAP 13/14 (https://testanything.org), bit by bit
 * and between whatever else is said. Results of the kernel and of programs are read apart, so that
 * neither disturbs the other, and a line that a kernel message cuts in two is put together again.
 * Never throws on any input.
 */
export class TapParser {
  readonly #splitter = new LineSplitter();
  readonly #filter = new KernelMessageFilter({
    separate: (held, next) => this.#areTwoLines(held, next),
    resumable: couldBeTap,
  });
  readonly #kernel: Channel = { current: undefined, documents: [] };
  readonly #program: Channel = { current: undefined, documents: [] };
  readonly #order: TapDocument[] = [];
  readonly #errors: string[] = [];
  readonly #requirePlan: boolean;
  readonly #run: TapRun;
  #report: TestReport | undefined;

  constructor(options: TapParserOptions = {}) {
    this.#requirePlan = options.requirePlan ?? true;
    this.#run = {
      results: 0,
      maxResults: options.maxResults ?? limits.maxTestResults,
      complain: (problem) => this.#complain(problem),
      onResult: options.onResult ?? (() => {}),
    };
  }

  /** Takes the next bytes, or the next piece of text. Ignored after {@link end}. */
  feed(chunk: Uint8Array | string): void {
    if (this.#report !== undefined) return;
    for (const line of this.#splitter.feed(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)) this.#line(line);
  }

  /** Some results came, and every document that was begun has all that it planned, or bailed out. */
  get settled(): boolean {
    return this.#order.length > 0 && this.#order.every((document) => document.isComplete || document.bailedOut);
  }

  /** The output has ended. Gives the report; the same one each time. */
  end(): TestReport {
    if (this.#report !== undefined) return this.#report;
    for (const line of this.#splitter.end()) this.#line(line);
    for (const line of this.#filter.end()) this.#route(line);
    const finished = this.#order.map((document) => document.finish(this.#requirePlan));
    if (finished.length === 0) this.#complain('there is no test output: no version line and no plan');
    const tests = finished.flatMap((document) => document.tests);
    const complete = finished.length > 0 && finished.every((document) => document.complete);
    this.#report = { tests, totals: countTests(tests), complete, errors: this.#errors };
    return this.#report;
  }

  #line(line: ConsoleLine): void {
    if (line.truncated && parseTapLine(line.text) !== undefined)
      this.#complain(`a result line was cut at ${limits.consoleLineBytes} bytes`);
    for (const part of this.#filter.push(line.text)) this.#route(part);
  }

  #route({ source, text, prefix }: SourcedLine): void {
    const line = parseTapLine(text);
    const isKernel = source === 'kernel';
    const channel = isKernel ? this.#kernel : this.#program;
    if (line !== undefined && this.#begin(channel, line, isKernel)) {
      channel.current?.accept(text, line);
      return;
    }
    if (channel.current !== undefined) channel.current.accept(text, line);
    // What the kernel says while a program's test runs may be why it fails.
    else if (isKernel) this.#program.current?.note(prefix + text);
    if (channel.current?.bailedOut === true) channel.current = undefined;
  }

  /** Starts a document where the line starts one. */
  #begin(channel: Channel, line: TapLine, isKernel: boolean): boolean {
    const { current } = channel;
    const isVersion = line.kind === 'version';
    if (current !== undefined) {
      if (!isVersion || line.column > current.column) return false;
      if (current.isEmpty) return true;
    } else if (!isVersion) {
      // TAP 12 has no version line; only programs print it, and only before anything else.
      const isFirst = !isKernel && channel.documents.length === 0 && line.column === 0;
      if (!isFirst || !(line.kind === 'plan' || (line.kind === 'result' && line.number === 1))) return false;
    }
    const document = new TapDocument(this.#run, isVersion ? line.dialect : 'TAP', {
      column: line.column,
      commented: false,
    });
    channel.current = document;
    channel.documents.push(document);
    this.#order.push(document);
    return true;
  }

  /**
   * Whether an interrupted line ended where it was interrupted. A kernel message cuts anywhere; but a
   * program that prints time stamps of its own, such as a test that shows a part of dmesg, looks the
   * same. What the next line would mean either way decides.
   */
  #areTwoLines(held: string, next: string): boolean {
    const start = held.replace(/^(?:# |[ \t])*/, '');
    // "not " and "ok 3" belong together whatever else they may be.
    if (start !== '' && 'not '.startsWith(start)) return false;
    const apart = parseTapLine(next);
    const joined = parseTapLine(held + next);
    // A comment that shows a piece of dmesg, and one more after it.
    if (start === '' && held.includes('#') && next.startsWith('# '))
      return joined === undefined || !this.#isExpected(joined);
    if (apart === undefined) return false;
    if (joined === undefined) return true;
    if (joined.kind !== 'result') return false;
    const before = parseTapLine(held);
    if (apart.kind === 'result' && before?.kind === 'result' && apart.number === (before.number ?? 0) + 1) return true;
    // Programs that print a time stamp behind nothing but an indent are rarer than lost results.
    if (start === '' && !held.includes('#') && this.#documents().some((document) => document.allows(joined)))
      return false;
    return !this.#isExpected(joined) && this.#isExpected(apart);
  }

  #isExpected(line: TapLine): boolean {
    if (line.kind !== 'result') return true;
    return this.#documents().some((document) => document.expects(line));
  }

  #documents(): TapDocument[] {
    return [this.#program.current, this.#kernel.current].filter((document) => document !== undefined);
  }

  #complain(problem: string): void {
    if (this.#errors.length < limits.testParseErrors && !this.#errors.includes(problem)) this.#errors.push(problem);
  }
}

/** Reads complete test output, see {@link TapParser}. */
export function parseTap(output: string | Uint8Array, options: TapParserOptions = {}): TestReport {
  const parser = new TapParser(options);
  parser.feed(output);
  return parser.end();
}
