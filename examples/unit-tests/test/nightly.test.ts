import {
  memoryGuests,
  memoryLab,
  plainMemoryBuild,
  type MemoryLab,
  type MemoryLabOptions,
} from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { runNight, toMail, type Night } from '../src/nightly.ts';

const night: Night = {
  repository: 'https://git.example/linux.git',
  branches: ['main', 'next'],
  architectures: ['x86_64', 'arm64'],
};

// A whole lab in memory: builds and guests are functions, and hours pass in milliseconds.
async function labWith(options: MemoryLabOptions = {}): Promise<MemoryLab> {
  const branches = { main: 'a'.repeat(40), next: 'b'.repeat(40) };
  const lab = await memoryLab({ repositories: { [night.repository]: { branches } }, ...options });
  await lab.addServer();
  await lab.addHost();
  return lab;
}

const mailOf = async (lab: MemoryLab): Promise<string> => toMail(await lab.clock.runUntil(runNight(lab, night)));

describe('the nightly mail', () => {
  it('is one line when all is well', async () => {
    await using lab = await labWith();
    expect(await mailOf(lab)).toBe('4 of 4 are good');
  });

  it('names a branch that does not compile, on every architecture', async () => {
    const build: MemoryLabOptions['build'] = async (job) => {
      if (job.commit.startsWith('a')) return plainMemoryBuild(job);
      await job.log('drivers/gpio/gpio-foo.c:12:3: error: unknown type name\n');
      return 2;
    };
    await using lab = await labWith({ build });
    const [first, ...troubles] = (await mailOf(lab)).split('\n');
    expect(first).toBe('2 of 4 are good');
    expect(troubles.map((line) => line.split(':')[0])).toEqual(['next on x86_64 is bad', 'next on arm64 is bad']);
  });

  it('names an architecture that panics', async () => {
    await using lab = await labWith({
      guest: (guest) => memoryGuests[guest.spec.architecture === 'arm64' ? 'panics' : 'passes'](guest),
    });
    expect(await mailOf(lab)).toMatch(/^2 of 4 are good\nmain on arm64 is bad: .*\nnext on arm64 is bad: .*$/);
  });

  it('blames no branch when the lab can’t boot an architecture', async () => {
    await using lab = await labWith();
    const [host] = await lab.hosts.getAllHosts();
    await lab.hosts.decommissionHost(host?.id ?? '');
    await lab.addHost({ capabilities: { architectures: ['x86_64'] } });
    expect(await mailOf(lab)).toMatch(/^2 of 4 are good\nmain on arm64 is unknown: .*\nnext on arm64 is unknown: .*$/);
  });

  it('blames a kernel that hangs, and gives its VM back for the next night', async () => {
    await using lab = await labWith({ guest: memoryGuests.silent });
    expect(await mailOf(lab)).toMatch(/^0 of 4 are good(\n\w+ on \w+ is bad: .*){4}$/);
    expect(lab.hypervisor.host('host1').list()).toEqual([]);
  });
});
