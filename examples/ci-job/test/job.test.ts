import type { Pipeline, PipelineRequest } from '@bringup/core';
import { memoryGuests, memoryLab, type MemoryLab, type MemoryLabOptions } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { ciLog } from '../src/ci-log.ts';
import { exitStatus, explain, junitOf, runJob, statusOf } from '../src/job.ts';

const repository = 'https://git.example/linux.git';
const request: PipelineRequest = {
  name: '17 boot-test',
  sourceRepository: repository,
  targetArchitecture: 'x86_64',
  buildConfig: { recipe: 'kernel' },
  environmentType: 'qemu',
  tests: { from: 'console' },
};

async function labWith(options: MemoryLabOptions = {}): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories: { [repository]: { branches: { main: 'c'.repeat(40) } } }, ...options });
  await lab.addServer();
  await lab.addHost();
  return lab;
}

async function run(
  lab: MemoryLab,
  signal = new AbortController().signal,
): Promise<{ pipeline: Pipeline; said: string }> {
  let said = '';
  const log = ciLog({}, (text) => void (said += text));
  return { pipeline: await lab.clock.runUntil(runJob(lab, request, log, signal)), said };
}

describe('the job', () => {
  it('passes with the results of the tests', async () => {
    await using lab = await labWith();
    const { pipeline, said } = await run(lab);
    expect(statusOf(pipeline)).toBe(exitStatus.passed);
    expect(said).toMatch(/== build\n.* CC .*== boot\n.*Linux version.*ok 2 memory\n/s);
    expect(await junitOf(lab, pipeline)).toContain('<testsuites name="17 boot-test" tests="2" failures="0"');
  });

  it('blames the change when it does not compile, and tells the runner which stages were not reached', async () => {
    const build: MemoryLabOptions['build'] = async ({ log }) => {
      await log('main.c:3:1: error: expected ;\n');
      return 2;
    };
    await using lab = await labWith({ build });
    const { pipeline, said } = await run(lab);
    expect(statusOf(pipeline)).toBe(exitStatus.changeIsBad);
    expect(said).not.toContain('== boot');
    expect(explain(pipeline)).toContain('main.c:3:1: error: expected ;');
    expect(await junitOf(lab, pipeline)).toMatch(/tests="4" failures="1" errors="0" skipped="3"/);
  });

  it('blames the lab when no host can run the architecture', async () => {
    await using lab = await labWith();
    const [host] = await lab.hosts.getAllHosts();
    await lab.hosts.decommissionHost(host?.id ?? '');
    expect(statusOf((await run(lab)).pipeline)).toBe(exitStatus.labIsBad);
  });

  it('is gone on with after a kill, by the next attempt', async () => {
    const killed = await labWith({ guest: memoryGuests.passes });
    const { id } = await killed.pipelines.createPipeline(request);
    await killed.clock.advance(700);
    await killed.crash();
    await using next = await killed.reopen();
    const { pipeline, said } = await run(next);
    expect(pipeline).toMatchObject({ id, status: 'completed' });
    expect(said).toContain(`Going on with pipeline ${id}`);
    expect(await next.pipelines.getPipelineHistory()).toHaveLength(1);
  });

  it('puts everything back when it is cancelled', async () => {
    await using lab = await labWith({ guest: memoryGuests.silent });
    const stop = new AbortController();
    lab.clock.timer(5_000, () => stop.abort());
    const { pipeline } = await run(lab, stop.signal);
    expect(pipeline.status).toBe('cancelled');
    const used = [...(await lab.buildServers.getAllServers()), ...(await lab.hosts.getAllHosts())];
    expect(used.map(({ currentUtilization }) => currentUtilization)).toEqual([0, 0]);
    expect(lab.hypervisor.host('host1').list()).toEqual([]);
  });

  it('starts anew when what the killed attempt left was being cancelled', async () => {
    const killed = await labWith({ guest: memoryGuests.silent });
    const { id } = await killed.pipelines.createPipeline(request);
    await killed.clock.advance(700);
    await killed.pipelines.cancelPipeline(id);
    await killed.crash();
    await using next = await killed.reopen();
    const stop = new AbortController();
    next.clock.timer(60_000, () => stop.abort());
    const { pipeline } = await run(next, stop.signal);
    expect(pipeline.id).not.toBe(id);
  });
});
