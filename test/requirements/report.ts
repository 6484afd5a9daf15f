import { globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestResult } from './coverage.ts';

/** The repository's root. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url));

/** Which of the two runs a report is of. */
export type Suite = 'unit' | 'lab';

const fileOf = (suite: Suite): string => join(root, '.cache', 'requirements', `${suite}.json`);

/** Keeps what a whole run of a suite proved. */
export function writeReport(suite: Suite, results: readonly TestResult[]): void {
  mkdirSync(dirname(fileOf(suite)), { recursive: true });
  writeFileSync(fileOf(suite), JSON.stringify(results));
}

/** What the last whole run of a suite proved, unless there was none or the sources have changed since. */
export function readFreshReport(suite: Suite): TestResult[] | undefined {
  const made = statSync(fileOf(suite), { throwIfNoEntry: false })?.mtimeMs;
  if (made === undefined) return undefined;
  const sources = globSync(['{packages,examples,test}/**/*.{ts,c,h,S,json,sh}', '*.config.ts'], {
    cwd: root,
    exclude: (path) => /(?:^|\/)(?:node_modules|dist|\.bringup)$/.test(path),
  });
  if (sources.some((path) => statSync(join(root, path)).mtimeMs > made)) return undefined;
  return JSON.parse(readFileSync(fileOf(suite), 'utf8')) as TestResult[];
}
