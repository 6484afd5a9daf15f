/** A benchmark that `pnpm bench NAME` runs. */
export interface Bench {
  /** As on the command line. Benchmarks of one name are run in turn and their results merged. */
  readonly name: string;
  /** What is measured against what, in one line. */
  readonly describe: string;
  /** Measures. The keys are those of docs/PERFORMANCE.md; units are part of the key where there are any. */
  run(): Promise<Record<string, number>>;
}

/** One side of a comparison: does the work once and returns its figure, such as milliseconds or MB/s. */
export type Measured = () => Promise<number>;

/**
 * Measures several things side by side on a noisy machine: in every round each is measured once, in
 * alternating order, so that a slow minute hits them all. One round more, at the start, warms up.
 *
 * @returns the median figure of each.
 */
export async function alternate<K extends string>(
  sides: Readonly<Record<K, Measured>>,
  rounds = 5,
): Promise<Record<K, number>> {
  const names = Object.keys(sides) as K[];
  const figures = new Map<K, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const figure = await sides[name]();
      if (round > 0) figures.get(name)?.push(figure);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(figures.get(name) ?? [])])) as Record<K, number>;
}

/** Milliseconds that an operation takes. */
export async function timed(operation: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await operation();
  return performance.now() - start;
}

/** The middle value; the mean of the two middle ones of an even number. @throws RangeError when empty. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The p-th percentile (0 to 100), interpolated between neighbours. @throws RangeError when empty. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = ((sorted.length - 1) * p) / 100;
  const low = sorted[Math.floor(at)];
  const high = sorted[Math.ceil(at)];
  if (low === undefined || high === undefined) throw new RangeError('no values to take a percentile of');
  return low + (high - low) * (at - Math.floor(at));
}

/** Three significant digits: what is below that is noise. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** Prints rows under a heading, columns aligned, numbers to the right. */
export function printTable(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const cells = [
    columns,
    ...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? String(rounded(cell)) : cell))),
  ];
  const widths = columns.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  const isNumber = columns.map((_, column) => rows.every((row) => typeof row[column] === 'number'));
  for (const [index, row] of cells.entries()) {
    const line = row.map((cell, column) =>
      isNumber[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
    );
    console.log(line.join('  ').trimEnd());
    if (index === 0) console.log(widths.map((width) => '-'.repeat(width)).join('  '));
  }
  console.log();
}
