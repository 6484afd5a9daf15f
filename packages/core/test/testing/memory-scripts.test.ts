import { execFile } from 'node:child_process';
import { mkdtemp, realpath, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { localShell, type ShellSession } from '@bringup/core';
import { memoryShell, type MemoryCommand } from '@bringup/core/testing';
import { findOutputs } from '../../src/builds/collect.ts';
import { cleanServer, markOver, readResourceUse, removeFolder } from '../../src/builds/housekeeping.ts';
import { buildScript, readNoteScript, scriptRecipe } from '../../src/builds/scripts.ts';
import { presentScript } from '../../src/deployments/transfer.ts';
import { readVitals, utilizationOf, vitalsScript } from '../../src/health/vitals.ts';
import { probeBoard } from '../../src/pool/peripherals.ts';
import { probeFacts, probeNetwork, probeToolchains } from '../../src/pool/probe.ts';
import { memoryBuildScripts, type MemoryBuildFunction } from '../../src/testing/memory-build.ts';
import { MemoryJobs } from '../../src/testing/memory-detached.ts';
import { memoryMachineScripts } from '../../src/testing/memory-machine.ts';
import { memoryVitals } from '../../src/testing/memory-vitals.ts';
import { pollDetached, startDetached, stopDetached, type DetachedNews } from '../../src/work/detached.ts';

/** Commands for both: as a script, and as the function that plays it in memory. */
const talks = 'echo one; echo two >&2; exit 3';
const hangs = 'echo begun; exec sleep 1000';
const notes = 'echo "far along" > note; echo done';
const played: Readonly<Record<string, MemoryCommand>> = {
  [talks]: async ({ stdout, stderr }) => {
    await stdout.write('one\n');
    await stderr.write('two\n');
    return 3;
  },
  [hangs]: async ({ stdout, signal }) => {
    await stdout.write('begun\n');
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  },
  [notes]: async ({ fs, path, stdout }) => {
    fs.writeFile(path('note'), 'far along\n');
    await stdout.write('done\n');
  },
};
/** Recipes: `$1` is the script. */
const makesFiles = 'mkdir build && echo kernel > build/a.elf && echo other > build/b.elf && touch build/.hidden';
const fails = 'echo "main.c:1: error: no"; exit 7';
const play: MemoryBuildFunction = async ({ args: [script], output, log }) => {
  if (script === fails) {
    await log('main.c:1: error: no\n');
    return 7;
  }
  output('build/a.elf', 'kernel\n');
  output('build/b.elf', 'other\n');
  output('build/.hidden', '');
  return 0;
};

interface Side {
  readonly session: ShellSession;
  readonly folder: string;
  readonly repository: string;
  readonly commit: string;
  dispose(): Promise<void>;
}

async function realSide(): Promise<Side> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'bringup-scripts-')));
  const repository = join(folder, 'repo');
  const git = async (...args: string[]): Promise<string> =>
    (
      await promisify(execFile)('git', ['-C', repository, '-c', 'user.name=a', '-c', 'user.email=a@b', ...args])
    ).stdout.trim();
  await mkdir(repository);
  await git('init', '--quiet', '--initial-branch=main');
  await writeFile(join(repository, 'main.c'), 'int main;\n');
  await git('add', '.');
  await git('commit', '--quiet', '-m', 'first');
  const commit = await git('rev-parse', 'HEAD');
  const connector = localShell();
  return {
    session: await connector.connect({ hostname: 'localhost', username: 'me' }),
    folder,
    repository,
    commit,
    async dispose() {
      await connector[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

async function memorySide(): Promise<Side> {
  const jobs = new MemoryJobs();
  const machine = { peripherals: ['ethernet'], temperatureCelsius: 40.5, networkBytes: 1_000 };
  const commit = '0123456789abcdef0123456789abcdef01234567';
  const repositories = new Map([['/work/repo', { branches: { main: commit }, files: { 'main.c': 'int main;\n' } }]]);
  const connector = memoryShell({
    scripts: new Map([
      ...Object.entries(played),
      ...jobs.scripts,
      ...memoryBuildScripts(repositories, play),
      ...memoryMachineScripts(() => machine),
      ...memoryVitals(() => machine),
    ]),
  });
  connector.host('server').fs.makeFolder('/work');
  return {
    session: await connector.connect({ hostname: 'server', username: 'me' }),
    folder: '/work',
    repository: '/work/repo',
    commit,
    async dispose() {
      await connector[Symbol.asyncDispose]();
    },
  };
}

describe.each([
  ['real', realSide],
  ['memory', memorySide],
] as const)('the scripts of the SDK on a %s target', (_name, setup) => {
  let side: Side;
  let jobs = 0;
  beforeAll(async () => {
    side = await setup();
  });
  afterAll(() => side.dispose());

  const newFolder = (): string => `${side.folder}/job-${(jobs += 1)}`;
  const start = (folder: string, script: string): Promise<void> =>
    startDetached(side.session, folder, ['sh', '-c', script]);

  /** Polls to the end of the command. */
  async function end(folder: string, session = side.session): Promise<DetachedNews & { log: string }> {
    let log = Buffer.alloc(0);
    for (;;) {
      const news = await pollDetached(session, folder, log.byteLength);
      log = Buffer.concat([log, news.bytes]);
      if (news.state !== 'running' && !news.more) return { ...news, log: log.toString() };
    }
  }

  async function read(path: string): Promise<string> {
    return (await side.session.exec(['sh', '-c', readNoteScript, 'note', path])).stdout.toString();
  }

  it('run a command detached and tell its output and its end', async () => {
    const folder = newFolder();
    await start(folder, talks);
    expect(await end(folder)).toMatchObject({ state: 'exited', exitCode: 3, log: 'one\ntwo\n', note: '' });
  });

  it('tell what the command noted', async () => {
    const folder = newFolder();
    await start(folder, notes);
    expect(await end(folder)).toMatchObject({ exitCode: 0, note: 'far along', log: 'done\n' });
  });

  it('start a command once, however often they are asked', async () => {
    const folder = newFolder();
    await start(folder, talks);
    await end(folder);
    await start(folder, talks);
    expect((await end(folder)).log).toBe('one\ntwo\n');
  });

  it('give the log from the byte that is asked for', async () => {
    const folder = newFolder();
    await start(folder, talks);
    await end(folder);
    expect((await pollDetached(side.session, folder, 5)).bytes.toString()).toBe('wo\n');
    expect((await pollDetached(side.session, folder, 8)).bytes.toString()).toBe('');
  });

  it('say that a command is gone where there is none', async () => {
    expect(await pollDetached(side.session, newFolder(), 0)).toMatchObject({ state: 'gone' });
    await side.session.exec(['mkdir', `${side.folder}/empty`]);
    expect(await pollDetached(side.session, `${side.folder}/empty`, 0)).toMatchObject({ state: 'gone' });
  });

  it('stop a command, which then has ended by TERM, and mind no second stop', async () => {
    const folder = newFolder();
    await start(folder, hangs);
    expect((await pollDetached(side.session, folder, 0)).state).toBe('running');
    await stopDetached(side.session, folder);
    expect(await end(folder)).toMatchObject({
      state: 'exited',
      exitCode: 143,
      // Some shells say what became of their child.
      log: expect.stringMatching(/^begun\n(Terminated\n)?$/),
    });
    await stopDetached(side.session, folder);
    await stopDetached(side.session, newFolder());
  });

  const build = async (
    script: string,
    branch: string,
    commit = '',
    repository = side.repository,
  ): Promise<[DetachedNews & { log: string }, string]> => {
    const folder = newFolder();
    const command = [
      'env',
      'LEVEL=1',
      'sh',
      '-c',
      buildScript,
      'bringup-build',
      folder,
      `${side.folder}/git`,
      repository,
      branch,
      commit,
      scriptRecipe,
      script,
    ];
    await startDetached(side.session, folder, command);
    return [await end(folder), folder];
  };

  it('build a commit: note, commit, log and outputs', async () => {
    const [news, folder] = await build(makesFiles, 'main');
    expect(news).toMatchObject({ exitCode: 0, note: `building ${side.commit}` });
    expect(news.log).toBe(`bringup: fetching ${side.repository}\nbringup: source is at ${side.commit}\n`);
    expect(await read(`${folder}/commit`)).toBe(`${side.commit}\n`);
    const outputs = await findOutputs(
      side.session,
      `${folder}/src`,
      [
        { type: 'kernel_image', path: 'build/*.elf' },
        { type: 'other', path: 'none/*', required: false },
      ],
      new AbortController().signal,
    );
    expect(outputs.map(({ filename, sizeBytes, path }) => [filename, sizeBytes, path])).toEqual([
      ['a.elf', 7, `${folder}/src/build/a.elf`],
      ['b.elf', 6, `${folder}/src/build/b.elf`],
    ]);
    await expect(
      findOutputs(
        side.session,
        `${folder}/src`,
        [{ type: 'other', path: 'build/*.bin' }],
        new AbortController().signal,
      ),
    ).rejects.toMatchObject({ code: 'output-missing' });
    await removeFolder(side.session, folder, new AbortController().signal);
    expect(await pollDetached(side.session, folder, 0)).toMatchObject({ state: 'gone' });
  });

  it('begin again what was removed, but not what is over', async () => {
    const { signal } = new AbortController();
    const unless = `${side.folder}/builds/.over/one`;
    const folder = newFolder();
    const begin = (): Promise<void> => startDetached(side.session, folder, ['sh', '-c', talks], { unless });
    await begin();
    await end(folder);
    await removeFolder(side.session, folder, signal);
    await begin();
    await end(folder);
    await markOver(side.session, unless, signal);
    await removeFolder(side.session, folder, signal);
    await expect(begin()).rejects.toMatchObject({ code: 'lease-lost' });
    expect(await pollDetached(side.session, folder, 0)).toMatchObject({ state: 'gone' });
  });

  it('build the default branch, and a commit by its first digits', async () => {
    expect((await build(makesFiles, 'HEAD'))[0].note).toBe(`building ${side.commit}`);
    expect((await build(makesFiles, 'main', side.commit.slice(0, 10)))[0].note).toBe(`building ${side.commit}`);
  });

  it('give the exit code of a recipe that fails, and no failure of their own', async () => {
    const [news, folder] = await build(fails, 'main');
    expect(news).toMatchObject({ exitCode: 7 });
    expect(news.log).toContain('main.c:1: error: no\n');
    expect(await read(`${folder}/failure`)).toBe('');
  });

  it.each([
    ['source-missing', 'main', '', '/no/such/folder'],
    ['commit-not-found', 'nowhere', '', undefined],
    ['commit-not-found', 'main', 'ffffffffff', undefined],
  ] as const)('tell %s by its code', async (code, branch, commit, repository) => {
    const [news, folder] = await build(makesFiles, branch, commit, repository);
    expect(news.exitCode).toBe(1);
    expect(news.log).toMatch(/bringup: (there is no|cannot fetch)/);
    expect(await read(`${folder}/failure`)).toBe(`${code}\n`);
  });

  it('tell what a build used', async () => {
    const [, folder] = await build(makesFiles, 'main');
    const use = await readResourceUse(side.session, folder, new AbortController().signal);
    expect(use?.cpuSeconds).toBeGreaterThanOrEqual(0);
    expect(use?.storageMb).toBeGreaterThan(0);
    expect(await readResourceUse(side.session, newFolder(), new AbortController().signal)).toBeUndefined();
  });

  it('make room: what runs or is under way stays, and what reads from a mirror keeps it', async () => {
    const workspace = newFolder();
    const { signal } = new AbortController();
    const there = async (path: string): Promise<boolean> =>
      (await side.session.exec(['test', '-e', `${workspace}/${path}`])).exitCode === 0;
    const make = (path: string): Promise<unknown> => side.session.exec(['mkdir', '-p', `${workspace}/${path}`]);
    for (const folder of ['git', 'git/a.git', 'builds', 'builds/mine', 'builds/old']) await make(folder);
    await start(`${workspace}/builds/runs`, hangs);
    await cleanServer(side.session, workspace, ['mine'], signal);
    expect([await there('builds/mine'), await there('builds/runs'), await there('builds/old')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(await there('git/a.git')).toBe(true);
    await stopDetached(side.session, `${workspace}/builds/runs`);
    await cleanServer(side.session, workspace, [], signal);
    expect([await there('builds/mine'), await there('builds/runs'), await there('git/a.git')]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('tell which files are there whole, and remove those that are not', async () => {
    const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    const folder = newFolder();
    const present = async (): Promise<string> =>
      (
        await side.session.exec(['sh', '-c', presentScript, 'present', folder, empty, 'f'.repeat(64)])
      ).stdout.toString();
    expect(await present()).toBe('');
    await side.session.exec(['touch', `${folder}/${empty}`, `${folder}/${'f'.repeat(64)}`]);
    expect(await present()).toBe(`${empty}\n`);
    expect((await side.session.exec(['test', '-e', `${folder}/${'f'.repeat(64)}`])).exitCode).toBe(1);
  });

  it('tell what the machine is', async () => {
    const facts = await probeFacts(side.session, `${side.folder}/new/workspace`);
    expect(facts).toMatchObject({ workspace: `${side.folder}/new/workspace` });
    expect([facts.cpuCores, facts.memoryMb, facts.freeGb].every((value) => value > 0)).toBe(true);
    const native = (await probeToolchains(side.session)).find(
      ({ name, targetArchitecture }) => name === 'gcc' && targetArchitecture === facts.architecture,
    );
    expect(native).toMatchObject({ path: '/usr/bin/gcc', available: true });
    expect(facts.kernelVersion).toMatch(/^\d+\.\d+/);
  });

  it('tell how the machine is doing, in agreement with what it is', async () => {
    const facts = await probeFacts(side.session, side.folder);
    const vitals = await readVitals(side.session, side.folder, {});
    expect(vitals.kernelVersion).toBe(facts.kernelVersion);
    expect(vitals.memoryKb / 1024 / facts.memoryMb).toBeCloseTo(1, 1);
    expect(vitals.memoryAvailableKb).toBeGreaterThan(0);
    expect(vitals.memoryAvailableKb).toBeLessThan(vitals.memoryKb);
    expect(Math.abs(vitals.storageFreeKb / 1024 / 1024 - facts.freeGb)).toBeLessThan(2);
    expect(vitals.cpuBusy).toBeGreaterThan(0);
    expect(vitals.cpuBusy).toBeLessThan(vitals.cpuTotal);
    // Its counters only grow; where there is no such folder, it looks at the root.
    const later = await readVitals(side.session, '/nowhere/at/all', {});
    expect(later.cpuTotal).toBeGreaterThanOrEqual(vitals.cpuTotal);
    expect(later.networkBytesIn).toBeGreaterThanOrEqual(vitals.networkBytesIn);
    expect(later.storageUsedKb).toBeGreaterThan(0);
    const { cpuPercent, memoryPercent } = utilizationOf(later, vitals);
    for (const share of [cpuPercent, memoryPercent]) expect(share >= 0 && share <= 100).toBe(true);
  });

  it('say how the machine is doing in the same lines, each with as many whole numbers', async () => {
    const { stdout, stderr, exitCode } = await side.session.exec(['sh', '-c', vitalsScript, 'bringup', side.folder]);
    expect({ exitCode, stderr: stderr.toString() }).toEqual({ exitCode: 0, stderr: '' });
    const lines = stdout.toString().replace(/^millidegrees \d+\n/m, '');
    expect(lines).toMatch(
      /^kernel \S+\ncpu \d+ \d+\nmemory_kb \d+ \d+\nstorage_kb \d+ \d+\nnetwork \d+ \d+\ncompilers \d+\n$/,
    );
  });

  it('tell the network interfaces of the machine, loopback left out', async () => {
    const interfaces = await probeNetwork(side.session);
    expect(interfaces.length).toBeGreaterThan(0);
    expect(interfaces.map(({ name }) => name)).not.toContain('lo');
    const [first] = interfaces.filter(({ state }) => state === 'up');
    expect(first?.macAddress).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    expect(first?.addresses.every((address) => /^[0-9a-f.:]+\/\d+$/.test(address))).toBe(true);
  });

  it('tell the peripherals of the machine', async () => {
    const { peripherals } = await probeBoard(side.session);
    expect(peripherals).toContain('ethernet');
    expect(peripherals).toEqual([...new Set(peripherals)].toSorted());
  });
});
