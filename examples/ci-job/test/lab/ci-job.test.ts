import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const bsp = fileURLToPath(new URL('../../../quickstart/bsp', import.meta.url));

let folder: string;
let jobs: ChildProcess[];
beforeEach(async () => {
  jobs = [];
  folder = await mkdtemp(join(tmpdir(), 'bringup-ci-job-'));
  await cp(bsp, join(folder, 'bsp'), { recursive: true });
  const makefile = join(folder, 'bsp/Makefile');
  const text = await readFile(makefile, 'utf8');
  await writeFile(makefile, text.replace('run_step = @printf', 'run_step = @sleep 0.2; printf'));
});
afterEach(async () => {
  for (const job of jobs) job.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** Starts the job as a runner does; resolves when it is in the middle of its build. */
async function startJob(): Promise<{ job: ChildProcess; said: () => string; ended: Promise<unknown[]> }> {
  const flags = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning'];
  const args = [
    '--source',
    join(folder, 'bsp'),
    '--state',
    join(folder, 'state'),
    '--junit',
    join(folder, 'junit.xml'),
  ];
  const env = { ...process.env, GITHUB_ACTIONS: 'true', GITHUB_RUN_ID: '17', GITHUB_JOB: 'boot-test' };
  const job = spawn(process.execPath, [...flags, main, ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  jobs.push(job);
  let text = '';
  const ended = once(job, 'close');
  await new Promise<void>((resolve, reject) => {
    job.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('CC      build/lib/list.c.o')) resolve();
    });
    void ended.then(([status]) => reject(new Error(`the job ended with ${String(status)}:\n${text}`)));
  });
  return { job, said: () => text, ended };
}

/** Processes that work in the job's folder, without the job itself. */
async function processesLeft(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    const cwd = /^\d+$/.test(pid) ? await readlink(`/proc/${pid}/cwd`).catch(() => '') : '';
    if (cwd.startsWith(folder)) found.push(`${pid} in ${cwd}`);
  }
  return found;
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  'a job that gets %s puts everything back and says so by its status',
  async (signal) => {
    const { job, said, ended } = await startJob();
    job.kill(signal);
    expect(await ended).toEqual([signal === 'SIGTERM' ? 143 : 130, null]);
    expect(said()).toMatch(/::endgroup::\n.*::error title=bringup::The job is being cancelled/s);
    expect(await processesLeft()).toEqual([]);
    expect(await readdir(join(folder, 'state/workspace/builds'))).toEqual([]);
    expect(await readFile(join(folder, 'junit.xml'), 'utf8')).toContain('name="build"');
  },
);

test('a job that was killed is gone on with by its next attempt, with the whole log and the results', async () => {
  const killed = await startJob();
  killed.job.kill('SIGKILL');
  await killed.ended;
  expect(existsSync(join(folder, 'junit.xml'))).toBe(false);
  const next = await startJob();
  expect(await next.ended, next.said()).toEqual([0, null]);
  expect(next.said()).toContain('Going on with pipeline');
  expect(next.said().match(/CC {6}build\/lib\/list\.c\.o/g)).toHaveLength(1);
  expect(await readFile(join(folder, 'junit.xml'), 'utf8')).toContain('tests="29" failures="0"');
  expect(await processesLeft()).toEqual([]);
});
