import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test('what the threat model names as its proof is there', () => {
  const document = new URL('../../docs/SECURITY.md', import.meta.url);
  const links = [...readFileSync(document, 'utf8').matchAll(/\]\(([^)#:]+)\)/g)].map(([, path = '']) => path);
  expect(links.length).toBeGreaterThan(20);
  expect(links.filter((path) => !existsSync(new URL(path, document)))).toEqual([]);
});
