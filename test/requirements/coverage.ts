import type { Requirement } from './requirement.ts';

/** A test that was run, or skipped. */
export interface TestResult {
  /** Path of its file from the repository's root. */
  readonly file: string;
  /** What it is called, from its outermost suite inwards. */
  readonly titles: readonly string[];
  readonly passed: boolean;
  readonly skipped: boolean;
}

/** What a run proves. */
export interface Coverage {
  /** The tests that passed, by the id they cite. */
  readonly provenBy: ReadonlyMap<string, readonly TestResult[]>;
  /** What is wrong, a sentence each; empty when all is well. */
  readonly problems: readonly string[];
}

const idPattern = /R\d+(?:\.\d+)?|P\d+|E-[a-z]+(?:-[a-z]+)*/;
const citation = new RegExp(`^((?:${idPattern.source})(?:, (?:${idPattern.source}))*): `);
const likeCitation = new RegExp(`^(?:${idPattern.source})\\b`);

/** The ids a title cites at its start, as in `R4.2, P4: checksums are those of the files`. */
export function citedIds(title: string): string[] {
  return citation.exec(title)?.[1]?.split(', ') ?? [];
}

/** What is wrong with the citations of any tests, however few of all there are. */
function citationProblems(results: readonly TestResult[], known: ReadonlySet<string>): string[] {
  const problems = new Set<string>();
  for (const { file, titles } of results) {
    for (const title of titles) {
      const ids = citedIds(title);
      if (ids.length === 0 && likeCitation.test(title)) {
        problems.add(`${file}: "${title}" must begin like "R4.2, P4: …" to cite what it proves`);
      }
      for (const id of ids)
        if (!known.has(id)) problems.add(`${file}: "${title}" cites ${id}, which is no requirement`);
    }
  }
  return [...problems];
}

/**
 * Judges a run: what it proves, and what is wrong.
 *
 * @param whole - whether every unit test was in the run; a part of them can't be asked for every id.
 */
export function judgeCoverage(
  results: readonly TestResult[],
  requirements: readonly Requirement[],
  whole: boolean,
): Coverage {
  const known = new Set(requirements.map(({ id }) => id));
  const provenBy = new Map<string, TestResult[]>();
  const problems = citationProblems(results, known);
  for (const result of results) {
    for (const id of new Set(result.titles.flatMap(citedIds))) {
      if (result.passed && known.has(id)) provenBy.set(id, [...(provenBy.get(id) ?? []), result]);
      if (whole && result.skipped)
        problems.push(`${result.file}: "${result.titles.join(' > ')}" cites ${id} and was skipped`);
    }
  }
  if (!whole) return { provenBy, problems };
  for (const { id, says } of requirements) {
    if (!provenBy.has(id)) problems.push(`${id} is proven by no test that passed: ${says}`);
  }
  return { provenBy, problems };
}
