import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it.each([
  ['simulation', '--seeds', 'many', /--seeds is a whole number from 1 on, not 'many'/],
  ['contention', '--attempts', '1e', /--attempts is a whole number from 1 on, not '1e'/],
  ['contention', '--store', 'postgress', /--store is sqlite or postgres, not 'postgress'/],
  ['chaos', '--points', '', /--points is a whole number from 0 on, not ''/],
  ['chaos', '--store', 'mysql', /--store is sqlite or postgres, not 'mysql'/],
])('%s with %s %s proves nothing, and says so', (program, option, value, said) => {
  const main = join(import.meta.dirname, '..', program, 'main.ts');
  const options = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning'];
  const { status, stderr } = spawnSync(process.execPath, [...options, main, option, value], { encoding: 'utf8' });
  expect(stderr).toMatch(said);
  expect(status).toBe(2);
});
