// Runs a command of this repository with everything it needs:
//
//   node .ci/setup.mjs COMMAND [ARGUMENT...]
//
// Runs on any Node from 20 up and needs nothing installed. It fetches pnpm, and a current Node when
// the one at hand is too old for the packages, from the npm registry into .cache/tools, installs
// the workspace from the lockfile, and hands over to the command. What is already there is not
// done again.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tools = join(root, '.cache', 'tools');
const modules = join(tools, 'node_modules');

const nodeVersion = '24.21.0';
const pnpmVersion = '12.21.0';
/** What the packages' `engines` ask for. */
const nodeFloor = [22, 18];

const [command, ...args] = process.argv.slice(2);
if (command === undefined) fail('usage: node .ci/setup.mjs COMMAND [ARGUMENT...]');

const path = [...fetchTools(), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter);
installWorkspace({ ...process.env, PATH: path });
handOver(command, args, {
  ...process.env,
  PATH: path,
  // Programs run from their sources: stripping types and compiling is half of what their start costs.
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, '.cache', 'compiled'),
});

/** Makes sure of Node and pnpm; returns the folders that go to the front of PATH. */
function fetchTools() {
  const nodePackage = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const ownNode = isNodeRecent();
  const missing = [];
  if (!ownNode && installedVersion(nodePackage) !== nodeVersion) missing.push(`${nodePackage}@${nodeVersion}`);
  if (installedVersion('pnpm') !== pnpmVersion || pnpmFolder() === undefined) missing.push(`pnpm@${pnpmVersion}`);
  if (missing.length > 0) {
    if (!ownNode) say(`Node ${process.versions.node} is older than ${nodeFloor.join('.')}`);
    say(`fetching ${missing.join(' and ')} from the npm registry`);
    npmInstall(ownNode ? missing : [`${nodePackage}@${nodeVersion}`, `pnpm@${pnpmVersion}`]);
  }
  const pnpm = pnpmFolder();
  if (pnpm === undefined) {
    fail(
      `there is no pnpm for ${process.platform}-${process.arch}; install pnpm ${pnpmVersion} and run "pnpm install", then the script again`,
    );
  }
  return ownNode ? [pnpm] : [join(modules, nodePackage, 'bin'), pnpm];
}

function isNodeRecent() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  return major > nodeFloor[0] || (major === nodeFloor[0] && minor >= nodeFloor[1]);
}

function installedVersion(name) {
  try {
    return JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8')).version;
  } catch {
    return undefined;
  }
}

/**
 * Where the platform's pnpm binary is. The `pnpm` package itself only links to it from an install
 * script, and installs often run without scripts.
 */
function pnpmFolder() {
  const scope = join(modules, '@pnpm');
  if (!existsSync(scope)) return undefined;
  const name = readdirSync(scope).find((entry) => existsSync(join(scope, entry, 'pnpm')));
  return name === undefined ? undefined : join(scope, name);
}

function npmInstall(packages) {
  mkdirSync(tools, { recursive: true });
  // A package.json of its own keeps npm from looking at the workspace around it.
  writeFileSync(join(tools, 'package.json'), '{ "private": true }\n');
  const options = [
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-package-lock',
    '--prefer-offline',
    '--loglevel=error',
  ];
  run('npm', ['install', '--prefix', tools, ...options, ...packages], {
    cwd: tools,
    env: process.env,
    otherwise:
      'npm could not fetch it. Check that "npm ping" works here (network, proxy, "npm config get registry"), then run the same command again',
  });
}

/** Installs from the lockfile unless pnpm's own record of what is installed equals it. */
function installWorkspace(env) {
  const wanted = readFileSync(join(root, 'pnpm-lock.yaml'), 'utf8');
  const installed = join(root, 'node_modules', '.pnpm', 'lock.yaml');
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted) return;
  say('installing the workspace from pnpm-lock.yaml');
  run('pnpm', ['install', '--frozen-lockfile', '--prefer-offline', '--reporter=append-only', '--loglevel=error'], {
    cwd: root,
    // Outside CI, pnpm stops to ask before it replaces a node_modules of another version.
    env: { ...env, CI: 'true' },
    otherwise:
      'pnpm could not install the workspace. When you are offline, connect once; when the lockfile is out of date, run "pnpm install" and commit it',
  });
}

function run(file, argv, { cwd, env, otherwise }) {
  // Standard output is the command's alone, so that its last line stays the last line.
  const done = spawnSync(file, argv, { cwd, env, stdio: ['ignore', 2, 2] });
  if (done.error) fail(`${file} did not start (${done.error.message}). ${otherwise}.`);
  if (done.signal) process.kill(process.pid, done.signal);
  if (done.status !== 0) fail(`${otherwise}.`);
}

/**
 * Runs the command in our place: our streams, its exit status, every signal exactly once.
 *
 * Ctrl-C reaches the whole foreground process group, the command included, and npm then sends it to
 * us once more; `kill PID` reaches us alone. Which of the two it was is told by a sentinel, a
 * process in our group that dies of what reaches the group.
 */
function handOver(file, argv, env) {
  const child = spawn(file, argv, { stdio: 'inherit', env });
  let sentinel = startSentinel();
  const settling = new Set();
  let turn = Promise.resolve();
  const relay = (signal) => {
    if (settling.has(signal)) return;
    settling.add(signal);
    setTimeout(() => {
      settling.delete(signal);
      turn = turn.then(async () => {
        if (await lives(sentinel)) child.kill(signal);
        else sentinel = startSentinel();
      });
    }, 100);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, relay);
  child.on('error', (error) => fail(`${file} did not start: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    for (const name of signals) process.removeAllListeners(name);
    process.kill(process.pid, signal);
    // Not every signal ends a process; say in the exit status what a shell would.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}

/** Ends by itself when we do: its standard input is a pipe only we hold. */
function startSentinel() {
  const sentinel = spawn('cat', [], { stdio: ['pipe', 'pipe', 'ignore'] });
  for (const part of [sentinel, sentinel.stdin, sentinel.stdout]) part.on('error', () => {});
  for (const part of [sentinel, sentinel.stdin, sentinel.stdout]) part.unref?.();
  return sentinel;
}

/** Asks it: one that has been sent a signal dies of it before it could answer, however busy the machine is. */
function lives(sentinel) {
  return new Promise((resolve) => {
    sentinel.stdout.once('data', () => resolve(true));
    sentinel.stdout.once('close', () => resolve(false));
    if (sentinel.stdout.closed) resolve(false);
    sentinel.stdin.write('?');
  });
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fail(text) {
  process.stderr.write(`setup: ${text}\n`);
  process.exit(1);
}
