// What is known of the packages that this workspace installs.
//
//   node .ci/audit.mjs lockfile      what can be told offline: each package comes from the registry, with a hash, and
//                                    runs no script when it is installed
//   node .ci/audit.mjs advisories    what the registry knows of vulnerabilities in what the packages depend on
//
// Exit status 1: something is wrong. 2: nobody could be asked, which is no answer.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Packages that may run scripts when they are installed. */
const mayRunScripts = [];

/** Whatever the lockfile and the workspace's settings allow and should not, a line each. */
export function lockfileFaults(lockfile, workspace) {
  const faults = [];
  const packages = section(lockfile, 'packages');
  let name;
  let resolved = true;
  const done = () => {
    if (name !== undefined && !resolved) faults.push(`${name} has no resolution`);
  };
  let count = 0;
  for (const line of packages) {
    const key = /^ {2}(\S.*):$/.exec(line)?.[1];
    if (key !== undefined) {
      done();
      name = key.replace(/^'(.*)'$/, '$1');
      resolved = false;
      count += 1;
      if (!/^(?:@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+(?:[-+][\w.+-]+)?$/.test(name)) {
        faults.push(`${name} is no version of a package of the registry`);
      }
    } else if (/^ {4}resolution:/.test(line)) {
      resolved = true;
      if (!/^ {4}resolution: \{integrity: sha512-[A-Za-z0-9+/]{86}==\}$/.test(line)) {
        faults.push(`${name} does not come from the registry with a SHA-512: ${line.trim()}`);
      }
    }
  }
  done();
  if (count === 0) faults.push('the lockfile names no package: its format is not understood');
  for (const line of section(lockfile, 'importers')) {
    const specifier = /^ {8}specifier: (.*)$/.exec(line)?.[1];
    if (specifier !== undefined && /(?:git|https?|file|link|tarball)[+:]|github:|^[\w-]+\/[\w-]+/.test(specifier)) {
      faults.push(`the specifier ${specifier} does not name a version of the registry`);
    }
  }
  for (const line of section(workspace, 'allowBuilds')) {
    const [, builder, value] = /^ {2}'?([^':]+)'?: (.*)$/.exec(line) ?? [];
    if (builder !== undefined && value !== 'false' && !mayRunScripts.includes(builder)) {
      faults.push(`${builder} may run scripts when it is installed`);
    }
  }
  for (const setting of [
    'dangerouslyAllowAllBuilds',
    'onlyBuiltDependencies',
    'patchedDependencies',
    'registry',
    'overrides',
  ]) {
    if (new RegExp(`^${setting}:`, 'm').test(workspace)) faults.push(`the workspace sets ${setting}`);
  }
  return faults;
}

/** The lines of a top-level section. The lockfile is machine-made: what looks otherwise is found to be a fault. */
function section(text, title) {
  const lines = text.split('\n');
  const start = lines.indexOf(`${title}:`);
  if (start < 0) return [];
  const end = lines.findIndex((line, at) => at > start && /^\S/.test(line));
  return lines.slice(start + 1, end < 0 ? undefined : end);
}

/** What an audit said: `found` of those that are serious enough, `none`, or `unanswered` and why. */
export function advisoriesOf({ stdout, status }) {
  let report;
  try {
    report = JSON.parse(stdout);
  } catch {
    return { kind: 'unanswered', why: stdout.trim().split('\n')[0] || `pnpm audit ended with status ${status}` };
  }
  if (report.error !== undefined) return { kind: 'unanswered', why: report.error.message ?? report.error.code };
  const counts = report.metadata?.vulnerabilities;
  if (counts === undefined) return { kind: 'unanswered', why: 'the answer counts no vulnerabilities' };
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (total === 0) return { kind: 'none' };
  const names = Object.values(report.advisories ?? {}).map(({ module_name: name, title }) => `${name}: ${title}`);
  return { kind: 'found', names: names.length > 0 ? names : [`${total} of them`] };
}

function main(what) {
  if (what === 'lockfile') {
    const read = (name) => readFileSync(join(root, name), 'utf8');
    const faults = lockfileFaults(read('pnpm-lock.yaml'), read('pnpm-workspace.yaml'));
    // A file of npm's settings could name another registry, or allow scripts.
    if (readdirSync(root).includes('.npmrc')) faults.push('there is an .npmrc in the workspace');
    for (const fault of faults) console.error(`audit: ${fault}`);
    if (faults.length === 0)
      console.log('audit: every package comes from the registry, with a hash, and runs no script');
    return faults.length === 0 ? 0 : 1;
  }
  if (what === 'advisories') {
    const asked = spawnSync('pnpm', ['audit', '--prod', '--json'], { cwd: root, encoding: 'utf8', timeout: 120_000 });
    const answer = advisoriesOf({
      stdout: `${asked.stdout ?? ''}` || `${asked.stderr ?? asked.error}`,
      status: asked.status,
    });
    if (answer.kind === 'unanswered') {
      console.error(
        `audit: the registry was not able to answer (${answer.why}); nothing is known about vulnerabilities`,
      );
      return 2;
    }
    for (const name of answer.names ?? []) console.error(`audit: ${name}`);
    if (answer.kind === 'none') console.log('audit: no known vulnerabilities in what the packages depend on');
    return answer.kind === 'none' ? 0 : 1;
  }
  console.error('usage: node .ci/audit.mjs lockfile|advisories');
  return 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv[2]);
