import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = new URL('../../../', import.meta.url);

test.each([
  ['README.md', 'src/main.ts'],
  ['packages/core/README.md', 'src/results.ts'],
])('the first example of %s is %s, which is compiled', async (readme, file) => {
  const text = await readFile(new URL(readme, root), 'utf8');
  const example = /^```ts\n(.*?)^```$/ms.exec(text)?.[1];
  expect(example).toBe(await readFile(new URL(`../${file}`, import.meta.url), 'utf8'));
});

test("the example of core's README says what its comments say", () => {
  const file = fileURLToPath(new URL('../src/results.ts', import.meta.url));
  const flags = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning'];
  const said = execFileSync(process.execPath, [...flags, file], { encoding: 'utf8' }).split('\n');
  expect(said.slice(0, 2)).toEqual(['booted', '1 of 2 passed']);
  expect(said.some((line) => line.startsWith('<testsuites name="board-7" tests="2" failures="1"'))).toBe(true);
});
