import { expect, test } from 'vitest';
import { parseOptions } from '../src/options.ts';

test('without options it is the BSP, kept in .bringup', () => {
  expect(parseOptions([], '/home/me')).toEqual({ type: 'run', options: { what: 'bsp', state: '/home/me/.bringup' } });
});

test('a source implies Linux; a folder is found from where the user is, a URL stays as it is', () => {
  const sourceOf = (source: string): unknown => {
    const parsed = parseOptions(['--source', source], '/home/me');
    return parsed.type === 'run' && parsed.options.what === 'linux' ? parsed.options.source : parsed;
  };
  expect(['linux', '/srv/linux', 'https://example.org/linux.git', 'git@example.org:linux.git'].map(sourceOf)).toEqual([
    '/home/me/linux',
    '/srv/linux',
    'https://example.org/linux.git',
    'git@example.org:linux.git',
  ]);
});

test.each([
  [['--frob'], "Unknown option '--frob'"],
  [['frob'], "Unexpected argument 'frob'"],
  [['--source'], "Option '--source <value>' argument missing"],
  [['--source='], '--source needs a folder or a git URL'],
  [['--branch', 'next'], '--branch needs --source'],
])('%j is a mistake: %s', (argv, message) => {
  expect(parseOptions(argv, '/')).toEqual({ type: 'mistake', message });
});
