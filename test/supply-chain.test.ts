import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const root = new URL('../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const audit: unknown = await import(new URL('.ci/audit.mjs', root).href);
const { lockfileFaults, advisoriesOf } = audit as {
  lockfileFaults(lockfile: string, workspace: string): string[];
  advisoriesOf(asked: { stdout: string; status: number | null }): { kind: string; why?: string; names?: string[] };
};

const lockfile = read('pnpm-lock.yaml');
const workspace = read('pnpm-workspace.yaml');

describe('the lockfile', () => {
  test('holds packages of the registry only, each with its hash, and none of them runs scripts', () => {
    expect(lockfileFaults(lockfile, workspace)).toEqual([]);
  });

  test.for<[string, (lock: string) => string]>([
    ['without a hash', (lock) => lock.replace(/resolution: \{integrity: [^}]*\}/, 'resolution: {}')],
    [
      'with a weaker hash',
      (lock) => lock.replace(/integrity: sha512-[^}]*/, 'integrity: sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk='),
    ],
    [
      'from elsewhere',
      (lock) =>
        lock.replace(
          /resolution: \{integrity: ([^}]*)\}/,
          'resolution: {integrity: $1, tarball: https://evil.example/x.tgz}',
        ),
    ],
    [
      'from a git repository',
      (lock) =>
        lock.replace(
          /resolution: \{integrity: [^}]*\}/,
          'resolution: {commit: abc, repo: https://evil.example/x.git, type: git}',
        ),
    ],
    ['without any resolution', (lock) => lock.replace(/\n {4}resolution: .*/, '')],
    [
      'named by a URL',
      (lock) =>
        lock.replace(
          /\n {2}'@andrewbranch\/untar\.js@1\.0\.4':\n {4}res/,
          "\n  'x@https://evil.example/x.tgz':\n    res",
        ),
    ],
    ['asked for by a URL', (lock) => lock.replace(/specifier: .*/, 'specifier: https://evil.example/x.tgz')],
    ['asked for by a short name of GitHub', (lock) => lock.replace(/specifier: .*/, 'specifier: evil/x')],
    ['in a format that is not known', (lock) => lock.replace('\npackages:\n', '\npakete:\n')],
  ])('with a package %s is refused', ([, change]) => {
    const changed = change(lockfile);
    expect(changed).not.toBe(lockfile);
    expect(lockfileFaults(changed, workspace)).not.toEqual([]);
  });

  test('goes with settings that let no package run scripts', () => {
    expect(lockfileFaults(lockfile, workspace.replace('esbuild: false', 'esbuild: true'))).toHaveLength(1);
    expect(lockfileFaults(lockfile, `${workspace}dangerouslyAllowAllBuilds: true\n`)).toHaveLength(1);
  });
});

describe('the question for advisories', () => {
  test('tells no vulnerabilities from no answer', () => {
    const none = { metadata: { vulnerabilities: { low: 0, high: 0 } }, advisories: {} };
    expect(advisoriesOf({ stdout: JSON.stringify(none), status: 0 })).toEqual({ kind: 'none' });
    const two = {
      metadata: { vulnerabilities: { low: 0, high: 1 } },
      advisories: { 1: { module_name: 'x', title: 'bad' } },
    };
    expect(advisoriesOf({ stdout: JSON.stringify(two), status: 1 })).toEqual({ kind: 'found', names: ['x: bad'] });
    for (const stdout of [
      '{"error":{"code":"ERR_PNPM_AUDIT_BAD_RESPONSE","message":"responded with 405"}}',
      'Error: ERR_PNPM_AUDIT_BAD_RESPONSE',
      '',
      '{}',
    ]) {
      expect(advisoriesOf({ stdout, status: 1 }), stdout).toMatchObject({ kind: 'unanswered' });
    }
  });
});

interface Job {
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps: readonly {
    readonly uses?: string;
    readonly run?: string;
    readonly with?: object;
    readonly env?: object;
  }[];
}
interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

describe('the workflows', () => {
  const names = readdirSync(new URL('.github/workflows', root));
  const workflows = names.map((name) => [name, parse(read(`.github/workflows/${name}`)) as Workflow] as const);
  const release = workflows.find(([name]) => name === 'release.yml')?.[1].jobs['release'] ?? expect.fail();

  test.for(workflows)(
    '%s may do nothing by default, and keeps no token in its checkout',
    ([, { permissions, jobs }]) => {
      expect(Object.values(permissions).filter((right) => right !== 'read')).toEqual([]);
      for (const { steps } of Object.values(jobs)) {
        for (const { uses, with: given } of steps) {
          if (uses?.startsWith('actions/checkout@') === true)
            expect(given).toMatchObject({ 'persist-credentials': false });
          // The commit; tags can be moved.
          if (uses !== undefined) expect(uses).toMatch(/@[0-9a-f]{40}$/);
        }
      }
    },
  );

  test.for(workflows)('%s splices nothing that others write into a shell', ([, { jobs }]) => {
    const scripts = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run = '' }) => run));
    expect(scripts.filter((run) => run.includes('${{'))).toEqual([]);
  });

  test('ci asks for advisories and runs all that is checked', () => {
    const steps = Object.values(workflows.find(([name]) => name === 'ci.yml')?.[1].jobs ?? {}).flatMap(
      (job) => job.steps,
    );
    expect(steps.some(({ run = '' }) => run.includes('.ci/audit.mjs advisories'))).toBe(true);
    expect(steps.some(({ run = '' }) => run.includes('.ci/run'))).toBe(true);
    expect(read('.ci/run')).toContain('audit lockfile');
  });

  test('release publishes with provenance, by an identity of its own and least permissions', () => {
    expect(release.permissions).toEqual({ contents: 'write', 'pull-requests': 'write', 'id-token': 'write' });
    const step = release.steps.find(({ uses }) => uses?.startsWith('changesets/action@') === true);
    expect(step).toMatchObject({
      with: { 'publish-script': 'npm run release' },
      env: { NPM_CONFIG_PROVENANCE: 'true' },
    });
    const audits = release.steps.findIndex(({ run = '' }) => run.includes('audit.mjs advisories'));
    expect(audits).toBeGreaterThan(-1);
    expect(audits).toBeLessThan(release.steps.findIndex((one) => one === step));
    for (const folder of readdirSync(new URL('packages', root))) {
      const { publishConfig } = JSON.parse(read(`packages/${folder}/package.json`)) as { publishConfig: object };
      expect(publishConfig, folder).toMatchObject({ provenance: true, access: 'public' });
    }
  });

  test('nobody can release from anywhere else', () => {
    const env = { ...process.env };
    for (const name of ['GITHUB_REPOSITORY', 'NPM_CONFIG_PROVENANCE', 'ACTIONS_ID_TOKEN_REQUEST_URL']) delete env[name];
    const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('.ci/release.mjs', root))], {
      env,
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain('release workflow');
  });
});
