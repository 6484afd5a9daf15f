import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const script = `
  import { registerHooks } from 'node:module';
  const packages = new Set();
  registerHooks({
    resolve(specifier, context, next) {
      if (!/^(?:node:|\\.|file:)/.test(specifier)) packages.add(specifier);
      return next(specifier, context);
    },
  });
  await import('@bringup/core');
  console.log(JSON.stringify([...packages]));
`;

test('importing the core loads nothing that only an open lab needs, such as the query builder and its 150 files', async () => {
  const flags = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning', '--input-type=module'];
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '-e', script], {
    cwd: import.meta.dirname,
  });
  expect(JSON.parse(stdout)).toEqual(['@bringup/core', 'valibot']);
});
