import type { BuildJob, BuildRequirements } from '@bringup/core';
import { fakeClock, memoryLab, type MemoryLab } from '@bringup/core/testing';
import { expect, it } from 'vitest';
import { WarmCcache } from '../src/warm-ccache.ts';

const linux = 'https://git.example/linux.git';
const zephyr = 'https://git.example/zephyr.git';
const repositories = Object.fromEntries([linux, zephyr].map((url) => [url, { branches: { main: 'a'.repeat(40) } }]));
const halfLifeMs = 60_000;

async function labWith(options: { readonly learn?: boolean } = {}): Promise<MemoryLab & { strategy: WarmCcache }> {
  const clock = fakeClock();
  const strategy = new WarmCcache({ clock, halfLifeMs });
  const lab = await memoryLab({ repositories, clock, strategies: [strategy] });
  for (const hostname of ['build1', 'build2', 'build3']) await lab.addServer({ hostname });
  if (options.learn !== false) await strategy.learnFrom(lab);
  return { ...lab, strategy };
}

async function build(lab: MemoryLab, sourceRepository: string, serverId?: string): Promise<BuildJob> {
  const { id } = await lab.builds.submitBuild({
    sourceRepository,
    targetArchitecture: 'x86_64',
    buildConfig: { recipe: 'kernel' },
    ...(serverId !== undefined && { serverId }),
  });
  return lab.clock.runUntil(lab.builds.waitForBuild(id));
}

async function serverNamed(lab: MemoryLab, hostname: string): Promise<string> {
  return (await lab.buildServers.findServer(hostname))?.id ?? expect.fail(`no server ${hostname}`);
}

const wanted: BuildRequirements = { targetArchitecture: 'x86_64', sourceRepository: linux };

it('sends a build where its repository was built before, even to a busier server', async () => {
  await using lab = await labWith();
  const warm = await serverNamed(lab, 'build2');
  await build(lab, linux, warm);
  await lab.selection.buildServers.reserveCapacity(warm, wanted, { holder: 'somebody' });
  expect(await build(lab, linux)).toMatchObject({ status: 'completed', serverId: warm });
});

it('leaves other repositories to the idlest server', async () => {
  await using lab = await labWith();
  const warm = await serverNamed(lab, 'build2');
  await build(lab, linux, warm);
  await lab.selection.buildServers.reserveCapacity(warm, wanted, { holder: 'somebody' });
  const { server } = await lab.selection.buildServers.selectServer({ ...wanted, sourceRepository: zephyr });
  expect(server?.hostname).toBe('build1');
});

it('tells its part in the score, which halves with time', async () => {
  await using lab = await labWith();
  const warm = await serverNamed(lab, 'build2');
  await build(lab, linux, warm);
  await lab.clock.advance(halfLifeMs);
  const score = await lab.selection.buildServers.calculateServerScore(warm, wanted);
  expect(score).toMatchObject({ parts: { 'warm-ccache': expect.closeTo(50, 0) as number } });
});

it('knows what was built before it began to listen, as after a restart', async () => {
  await using lab = await labWith({ learn: false });
  const warm = await serverNamed(lab, 'build2');
  await build(lab, linux, warm);
  await lab.selection.buildServers.reserveCapacity(warm, wanted, { holder: 'somebody' });
  await lab.strategy.learnFrom(lab);
  const { server } = await lab.selection.buildServers.selectServer(wanted);
  expect(server?.hostname).toBe('build2');
});
