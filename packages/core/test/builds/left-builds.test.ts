import { describe, expect, it } from 'vitest';
import { mkdtemp, mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { limits, localShell } from '@bringup/core';
import { memoryLab, type MemoryBuildFunction, type MemoryLab } from '@bringup/core/testing';
import { markOver } from '../../src/builds/housekeeping.ts';
import { kernelBuild, repositories } from '../support/requests.ts';

const workspace = '/work';
const sweep = limits.orphanSweepMs + 2 * limits.heartbeatMs;

/** A lab of build servers, and what still runs on them. */
async function labOf(servers: number) {
  const running = new Set<string>();
  const build: MemoryBuildFunction = async ({ server, sleep, output, log, signal }) => {
    running.add(server);
    signal.addEventListener('abort', () => running.delete(server));
    await log('building\n');
    await sleep(36_000_000);
    output('arch/x86/boot/bzImage', 'kernel');
    running.delete(server);
  };
  const lab = await memoryLab({ repositories, build });
  for (let at = 0; at < servers; at += 1) await lab.addServer({ workspace });
  return { lab, running };
}

const foldersOf = (lab: MemoryLab, name = 'build1'): readonly string[] => {
  const { fs } = lab.shell.host(name);
  return fs.list(`${workspace}/builds`);
};

describe('a build that is left on its server', () => {
  it('which was out of reach when it was cancelled is stopped and removed once it can be reached', async () => {
    const { lab, running } = await labOf(1);
    await using _lab = lab;
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(10_000);
    expect([foldersOf(lab), [...running]]).toEqual([[id], ['build1']]);
    const { faults } = lab.shell.host('build1');
    faults.refuseConnection = true;
    lab.shell.host('build1').dropConnections();
    await lab.builds.cancelBuild(id);
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({ status: 'cancelled' });
    await lab.clock.advance(sweep);
    expect([foldersOf(lab), [...running]]).toEqual([[id], ['build1']]);
    faults.refuseConnection = false;
    await lab.clock.advance(sweep);
    expect([foldersOf(lab), [...running]]).toEqual([[], []]);
  });

  it('and is done on another one now is stopped and removed where it was', async () => {
    const { lab, running } = await labOf(2);
    await using _lab = lab;
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(10_000);
    const [first = ''] = running;
    lab.shell.host(first).faults.refuseConnection = true;
    lab.shell.host(first).dropConnections();
    while (running.size < 2) await lab.clock.advance(1_000);
    lab.shell.host(first).faults.refuseConnection = false;
    await lab.clock.advance(sweep);
    expect(foldersOf(lab, first)).toEqual([]);
    expect([...running]).not.toContain(first);
    expect(running.size).toBe(1);
    expect(await lab.builds.getBuildStatus(id)).toMatchObject({ status: 'building' });
  });

  it('is none that is under way, nor one of another lab', async () => {
    const { lab } = await labOf(1);
    await using _lab = lab;
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(10_000);
    lab.shell.host('build1').fs.makeFolder(`${workspace}/builds/of-another-lab`);
    await lab.clock.advance(2 * sweep);
    expect([...foldersOf(lab)].sort()).toEqual([id, 'of-another-lab'].sort());
  });
});

describe('a server on which builds are over', () => {
  it('remembers which for a week', async () => {
    const builds = await mkdtemp(join(tmpdir(), 'bringup-over-'));
    const marks = join(builds, '.over');
    await mkdir(marks);
    const markedAgo = async (name: string, ms: number): Promise<void> => {
      await writeFile(join(marks, name), '');
      const at = new Date(Date.now() - ms);
      await utimes(join(marks, name), at, at);
    };
    await markedAgo('long-ago', limits.overMarkMs + 120_000);
    await markedAgo('lately', limits.overMarkMs - 120_000);
    await using shell = localShell();
    await using session = await shell.connect({ hostname: 'localhost', username: 'me' });
    const { signal } = new AbortController();
    await markOver(session, join(marks, 'now'), signal);
    expect((await readdir(marks)).sort()).toEqual(['lately', 'now']);
    await rm(builds, { recursive: true });
  });
});
