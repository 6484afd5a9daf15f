import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { requirements } from './requirements.ts';
import { citedIds, judgeCoverage, type TestResult } from './requirements/coverage.ts';
import { toDocument, toText, withoutTests } from './requirements/document.ts';
import { root } from './requirements/report.ts';

const two = [
  { id: 'R1.1', says: 'one thing', where: ['a.ts'] },
  { id: 'E-disk', says: 'another', where: ['b.ts', 'packages/core/src/c.ts#name'] },
];

const passed = (...titles: string[]): TestResult => ({ file: 'a.test.ts', titles, passed: true, skipped: false });
const failed = (...titles: string[]): TestResult => ({ ...passed(...titles), passed: false });
const skipped = (...titles: string[]): TestResult => ({ ...failed(...titles), skipped: true });

const problemsOf = (results: TestResult[], whole = true): readonly string[] =>
  judgeCoverage(results, two, whole).problems;

describe('the check that every requirement is proven', () => {
  it('is content when each id is cited by a test that passed, or by a suite around it', () => {
    const { provenBy, problems } = judgeCoverage(
      [passed('a pool', 'R1.1: grows'), passed('R1.1, E-disk: full disks', 'are seen'), passed('cites nothing')],
      two,
      true,
    );
    expect(problems).toEqual([]);
    expect([...provenBy].map(([id, tests]) => [id, tests.length])).toEqual([
      ['R1.1', 2],
      ['E-disk', 1],
    ]);
  });

  it('names an id that is cited by no test, or only by one that failed', () => {
    expect(problemsOf([failed('R1.1: grows')])).toEqual([
      'R1.1 is proven by no test that passed: one thing',
      'E-disk is proven by no test that passed: another',
    ]);
  });

  it('names a test that cites an id and was skipped, even when another one proves the id', () => {
    expect(problemsOf([passed('R1.1, E-disk: both'), skipped('E-disk: full disks', 'are seen')])).toEqual([
      'a.test.ts: "E-disk: full disks > are seen" cites E-disk and was skipped',
    ]);
  });

  it('names a test that cites what is no requirement, or cites in a way that does not count', () => {
    const wrong = ['R1.1, R9.9: grows', 'R1.1 grows', 'R1: grows', 'E-disk and R1.1: both'];
    expect(problemsOf([passed('R1.1, E-disk: both'), ...wrong.map((title) => passed(title))])).toEqual([
      'a.test.ts: "R1.1, R9.9: grows" cites R9.9, which is no requirement',
      'a.test.ts: "R1.1 grows" must begin like "R4.2, P4: …" to cite what it proves',
      'a.test.ts: "R1: grows" cites R1, which is no requirement',
      'a.test.ts: "E-disk and R1.1: both" must begin like "R4.2, P4: …" to cite what it proves',
    ]);
  });

  it('asks of a part of the tests only that it cites nothing wrong', () => {
    expect(problemsOf([skipped('R1.1: grows')], false)).toEqual([]);
    expect(problemsOf([passed('R9.9: grows')], false)).toHaveLength(1);
  });

  it.each([
    ['R4.2, P4: checksums', ['R4.2', 'P4']],
    ['E-ssh-timeout: backs off', ['E-ssh-timeout']],
    ['see R4.2: checksums', []],
    ['Power: R4.2', []],
    ['R4.2,P4: checksums', []],
  ])('reads %j', (title, ids) => {
    expect(citedIds(title)).toEqual(ids);
  });
});

describe('the list of requirements', () => {
  const count = (prefix: RegExp): number => requirements.filter(({ id }) => prefix.test(id)).length;

  it('has 18 times 5 capabilities, 24 invariants and 23 failure rules, each in one line', () => {
    expect([count(/^R/), count(/^P/), count(/^E-/)]).toEqual([90, 24, 23]);
    expect(requirements.filter(({ says }) => !/^[A-Z‘“].*[^.]\.$/.test(says))).toEqual([]);
  });

  it('says of every requirement where it is implemented', () => {
    expect(requirements.filter(({ where }) => where.length === 0)).toEqual([]);
  });

  it('names only files and exports that are there', () => {
    const missing = requirements.flatMap(({ id, where }) =>
      where.filter((place) => !isThere(place)).map((place) => `${id}: ${place}`),
    );
    expect(missing).toEqual([]);
  });

  it('is what docs/REQUIREMENTS.md shows; "npm run requirements -- --write" makes it anew', () => {
    const page = readFileSync(join(root, 'docs', 'REQUIREMENTS.md'), 'utf8');
    expect(withoutTests(page)).toBe(withoutTests(toDocument(requirements, new Map())));
  });
});

describe('the table of requirements', () => {
  const provenBy = new Map([
    ['E-disk', [passed('E-disk: a'), passed('E-disk: b'), { ...passed('E-disk: c'), file: 'A.test.ts' }]],
  ]);

  it('shows on a terminal where each is implemented and tested, and how many are', () => {
    expect(toText(two, provenBy)).toBe(`R1.1             one thing
                 implemented in  a.ts
                 tested in       –
E-disk           another
                 implemented in  b.ts
                                 packages/core/src/c.ts#name
                 tested in       A.test.ts (1)
                                 a.test.ts (2)

1 of 2 ids covered`);
  });

  it('links from docs to the files', () => {
    expect(toDocument(two, provenBy)).toContain(
      '| E-disk | another | [b.ts](../b.ts), [core/c.ts](../packages/core/src/c.ts) `name` | [A.test.ts](../A.test.ts), [a.test.ts](../a.test.ts) |',
    );
  });
});

function isThere(place: string): boolean {
  const [path = '', name] = place.split('#');
  const file = join(root, path);
  if (!existsSync(file)) return false;
  if (name === undefined) return true;
  return new RegExp(`^export (?:async )?(?:function|class|const|interface|type) ${name}\\b`, 'm').test(
    readFileSync(file, 'utf8'),
  );
}
