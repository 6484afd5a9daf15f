import { cut, printable } from './text.ts';

/** The part of a stream that the terminal uses; `process.stdout` fits. */
export interface TerminalStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** How a line of a table is marked. */
export type Mark = 'pass' | 'fail' | 'skip';

/** A line of a table. */
export interface TableRow {
  readonly mark: Mark;
  readonly cells: readonly string[];
}

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
type Style = keyof typeof codes;

const marks: Readonly<Record<Mark, { readonly sign: string; readonly style: Style }>> = {
  pass: { sign: '✔', style: 'green' },
  fail: { sign: '✘', style: 'red' },
  skip: { sign: '-', style: 'yellow' },
};

const barWidth = 28;

/**
 * What the quickstart shows: headings, live logs, a progress line, a table. On a terminal the
 * progress line stays at the bottom; without one every line is plain text, written once.
 */
export class Terminal {
  readonly #stream: TerminalStream;
  readonly #live: boolean;
  readonly #colors: boolean;
  #progress = '';
  #quarter = -1;

  constructor(stream: TerminalStream, env: Readonly<Record<string, string | undefined>> = process.env) {
    this.#stream = stream;
    this.#live = stream.isTTY === true && env['TERM'] !== 'dumb';
    this.#colors = this.#live && (env['NO_COLOR'] ?? '') === '';
  }

  /** A line of our own. */
  line(text = ''): void {
    this.#write(`${text}\n`);
  }

  /** The title of a part of the story. */
  heading(text: string): void {
    this.endProgress();
    this.#write(`\n${this.style('▶', 'cyan')} ${this.style(text, 'bold')}\n`);
  }

  /** Something that went well. */
  success(text: string): void {
    this.endProgress();
    this.line(`  ${this.style('✔', 'green')} ${text}`);
  }

  /** Something that went wrong. */
  failure(text: string): void {
    this.endProgress();
    this.line(`  ${this.style('✘', 'red')} ${text}`);
  }

  /** A line that a job or a device said, such as `build │ gcc -c main.c`. */
  log(source: string, text: string, style: Style = 'dim'): void {
    const line = `  ${source.padEnd(7)} │ ${printable(text)}`;
    this.#write(`${this.style(this.#live ? cut(line, this.#columns()) : line, style)}\n`);
  }

  /**
   * How far something is. Redrawn in place on a terminal; elsewhere told once for each quarter. At
   * 1 it is done and stays as a line.
   * @param fraction - 0 to 1.
   */
  progress(label: string, fraction: number, note = ''): void {
    const part = Math.min(1, Math.max(0, fraction));
    const filled = Math.round(part * barWidth);
    const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled);
    const text = `  ${label.padEnd(7)} ${bar} ${String(Math.round(part * 100)).padStart(3)} %  ${note}`.trimEnd();
    if (this.#live) {
      this.#progress = cut(text, this.#columns() - 1);
      this.#stream.write(`\r\u001b[K${this.#progress}${part === 1 ? '\n' : ''}`);
      if (part === 1) this.#progress = '';
    } else if (Math.floor(part * 4) > this.#quarter) {
      this.#quarter = Math.floor(part * 4);
      this.#stream.write(`${text}\n`);
      if (part === 1) this.#quarter = -1;
    }
  }

  /** Takes the progress line away. */
  endProgress(): void {
    if (this.#progress !== '') this.#stream.write('\r\u001b[K');
    this.#progress = '';
    this.#quarter = -1;
  }

  /** Rows under a heading, each with its mark; cells are made harmless. */
  table(columns: readonly string[], rows: readonly TableRow[]): void {
    this.endProgress();
    const cells = rows.map((row) => row.cells.map((cell) => printable(cell)));
    const widths = columns.map((name, at) => Math.max(name.length, ...cells.map((row) => row[at]?.length ?? 0)));
    const aligned = (row: readonly string[]): string =>
      widths
        .map((width, at) => (row[at] ?? '').padEnd(width))
        .join('  ')
        .trimEnd();
    this.line(`    ${this.style(aligned(columns), 'dim')}`);
    for (const [at, row] of rows.entries()) {
      const { sign, style } = marks[row.mark];
      this.line(`  ${this.style(sign, style)} ${aligned(cells[at] ?? [])}`);
    }
  }

  /** Text in a style, where the terminal shows styles. */
  style(text: string, style: Style): string {
    return this.#colors ? `\u001b[${codes[style]}m${text}\u001b[0m` : text;
  }

  #write(text: string): void {
    this.#stream.write(this.#progress === '' ? text : `\r\u001b[K${text}${this.#progress}`);
  }

  #columns(): number {
    return Math.max(20, this.#stream.columns ?? 80);
  }
}
