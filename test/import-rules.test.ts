import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Files of a small workspace of the real one's shape. */
type Files = Readonly<Record<string, string>>;

const sound: Files = {
  'packages/core/src/index.ts': "export * from './pool/pool.ts';\n",
  'packages/core/src/pool/pool.ts': "import { retry } from '../work/work.ts';\nexport const pool = retry;\n",
  'packages/core/src/work/work.ts': 'export const retry = 1;\n',
  'packages/core/src/testing/index.ts': "export { pool } from '../pool/pool.ts';\n",
  'packages/core/src/model/model.ts': 'export interface Model { readonly id: string }\nexport const model = 1;\n',
  'packages/core/src/contracts/shell.ts':
    "import type { Duplex } from 'node:stream';\nimport type { Model } from '../model/model.ts';\nexport interface Shell { model: Model; stream: Duplex }\n",
  'packages/connector-ssh/src/index.ts': "import { pool } from '@bringup/core';\nexport const ssh = pool;\n",
  'packages/connector-pdu/src/index.ts': 'export const pdu = 1;\n',
};

/** What must be refused, by the name of the rule that does it: files beside the sound ones. */
const offences: readonly (readonly [rule: string, files: Files])[] = [
  ['core-downwards-work', { 'packages/core/src/work/up.ts': "export { pool } from '../pool/pool.ts';\n" }],
  [
    'core-downwards-model',
    { 'packages/core/src/model/up.ts': "export type { Shell } from '../contracts/shell.ts';\n" },
  ],
  ['core-downwards-base', { 'packages/core/src/limits.ts': "export { model } from './model/model.ts';\n" }],
  ['core-known-rooms', { 'packages/core/src/utils/misc.ts': "export { model } from '../model/model.ts';\n" }],
  [
    'core-contracts-are-types',
    { 'packages/core/src/contracts/code.ts': "export { model } from '../model/model.ts';\n" },
  ],
  [
    'core-contracts-need-only-model',
    {
      'packages/core/src/contracts/wide.ts': "export type { Code } from '../errors.ts';\n",
      'packages/core/src/errors.ts': 'export type Code = string;\n',
    },
  ],
  [
    'core-testing-is-a-leaf',
    {
      'packages/core/src/work/faked.ts': "export { fake } from '../testing/fake.ts';\n",
      'packages/core/src/testing/fake.ts': 'export const fake = 1;\n',
    },
  ],
  ['core-knows-no-connector', { 'packages/core/src/work/wired.ts': "export { pdu } from '@bringup/connector-pdu';\n" }],
  [
    'packages-by-public-entry',
    { 'packages/connector-ssh/src/inside.ts': "export { retry } from '../../core/src/work/work.ts';\n" },
  ],
  [
    'outsiders-by-public-entry',
    { 'test/some.test.ts': "export { retry } from '../packages/core/src/work/work.ts';\n" },
  ],
  [
    'no-relative-way-between-packages',
    { 'examples/quickstart/src/main.ts': "export { pool } from '../../../packages/core/src/index.ts';\n" },
  ],
  [
    'connectors-leave-each-other-alone',
    { 'packages/connector-ssh/src/both.ts': "export { pdu } from '@bringup/connector-pdu';\n" },
  ],
  [
    'product-without-testing',
    { 'packages/connector-ssh/src/faked.ts': "export { pool } from '@bringup/core/testing';\n" },
  ],
  [
    'no-cycle',
    {
      'packages/core/src/work/one.ts': "export * from './other.ts';\n",
      'packages/core/src/work/other.ts': "export * from './one.ts';\n",
    },
  ],
  ['resolvable', { 'packages/core/src/work/lost.ts': "export * from './missing.ts';\n" }],
  ['declared-dependencies', { 'packages/core/src/work/undeclared.ts': "export { x } from 'undeclared';\n" }],
];

describe('the import rules', () => {
  let folder: string;
  let broken: readonly Violation[];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bringup-import-rules-'));
    const offending = offences.map(([, files]) => files);
    broken = await violations(join(folder, 'offending'), Object.assign({}, sound, ...offending) as Files);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('accept a sound workspace', async () => {
    expect(await violations(join(folder, 'sound'), sound)).toEqual([]);
  });

  test.for(offences)('refuse files that break %s', ([name, files]) => {
    const offenders = broken.filter(({ rule }) => rule.name === name).map(({ from }) => from);
    expect(offenders.filter((from) => from in files)).not.toEqual([]);
    expect(offenders.filter((from) => from in sound)).toEqual([]);
  });

  test('are each shown to bite', async () => {
    const config = (await import(join(root, '.dependency-cruiser.mjs'))) as {
      default: { forbidden: { name: string }[] };
    };
    const shown = new Set(offences.map(([rule]) => rule));
    const names = config.default.forbidden.map((rule) => rule.name);
    // The rules between rooms are generated; three of them stand for all.
    expect(names.filter((name) => !name.startsWith('core-downwards-') && !shown.has(name))).toEqual([]);
    expect(names.filter((name) => name.startsWith('core-downwards-')).length).toBeGreaterThan(15);
  });
});

/** Lays the files out as a workspace, checks it, and tells where it breaks which rule. */
async function violations(folder: string, files: Files): Promise<readonly Violation[]> {
  const all: Record<string, string> = {
    ...files,
    'tsconfig.json': '{ "compilerOptions": { "module": "nodenext", "allowImportingTsExtensions": true } }',
  };
  all['package.json'] = '{ "private": true, "type": "module" }';
  for (const name of ['core', 'connector-ssh', 'connector-pdu']) {
    const entries = { '.': './src/index.ts', './testing': './src/testing/index.ts' };
    const dependencies = { '@bringup/core': '*', '@bringup/connector-pdu': '*' };
    all[`packages/${name}/package.json`] = JSON.stringify({
      name: `@bringup/${name}`,
      type: 'module',
      exports: entries,
      dependencies,
    });
  }
  all['node_modules/undeclared/package.json'] = '{ "name": "undeclared", "type": "module", "exports": "./index.js" }';
  all['node_modules/undeclared/index.js'] = 'export const x = 1;\n';
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  await mkdir(join(folder, 'node_modules/@bringup'), { recursive: true });
  for (const name of ['core', 'connector-ssh', 'connector-pdu']) {
    await symlink(join(folder, 'packages', name), join(folder, 'node_modules/@bringup', name));
  }
  const roots = ['packages', 'examples', 'test'].filter((name) =>
    Object.keys(all).some((path) => path.startsWith(`${name}/`)),
  );
  const report = await cruise(folder, roots);
  return report.summary.violations;
}

interface Violation {
  readonly from: string;
  readonly rule: { readonly name: string };
}

interface Report {
  readonly summary: { readonly violations: readonly Violation[] };
}

function cruise(folder: string, roots: readonly string[]): Promise<Report> {
  const argv = ['--config', join(root, '.dependency-cruiser.mjs'), '--output-type', 'json', ...roots];
  return new Promise((resolve, reject) => {
    // It exits with the number of violations, so the report alone tells whether it worked.
    execFile(
      join(root, 'node_modules/.bin/depcruise'),
      argv,
      { cwd: folder, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        try {
          resolve(JSON.parse(stdout) as Report);
        } catch {
          reject(new Error(`depcruise failed: ${stderr}`, { cause: error }));
        }
      },
    );
  });
}
