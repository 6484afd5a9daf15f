import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits, type BuildJob } from '@bringup/core';
import { memoryLab, type MemoryBuildFunction, type MemoryLab } from '@bringup/core/testing';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelBuild, repositories, textOf } from '../support/requests.ts';

const finishes: MemoryBuildFunction = async ({ log, sleep, output, server }) => {
  await log(`compiled on ${server}\n`);
  await sleep(60_000);
  output('arch/x86/boot/bzImage', 'kernel');
  output('.config', 'CONFIG_64BIT=y\n');
};

async function labOf(servers: number, build: MemoryBuildFunction = finishes): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, build });
  for (let n = 0; n < servers; n += 1) await lab.addServer();
  return lab;
}

const ended = (lab: MemoryLab, id: string): Promise<BuildJob> => lab.clock.runUntil(lab.builds.waitForBuild(id));

async function serverOf(lab: MemoryLab, { serverId }: BuildJob): Promise<string> {
  return (await lab.buildServers.getServerStatus(serverId ?? '')).hostname;
}

/** What can go wrong with a server while it builds. */
const troubles: Readonly<Record<string, (lab: MemoryLab, hostname: string) => void>> = {
  'cannot be reached': (lab, name) => {
    lab.shell.host(name).faults.refuseConnection = true;
    lab.shell.host(name).dropConnections();
  },
  'refuses the key': (lab, name) => {
    lab.shell.host(name).faults.rejectAuthentication = true;
    lab.shell.host(name).dropConnections();
  },
  'is rebooted': (lab, name) => lab.reboot(name),
};

describe('a build whose server fails', () => {
  it.each(Object.keys(troubles))('P24, R16.4: is done on another one when the first %s', async (trouble) => {
    await using lab = await labOf(2);
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(10_000);
    const first = await serverOf(lab, await lab.builds.getBuildStatus(id));
    troubles[trouble]?.(lab, first);
    const done = await ended(lab, id);
    expect(done.status).toBe('completed');
    expect(await serverOf(lab, done)).not.toBe(first);
    const log = await textOf(lab.builds.getBuildLogs(id));
    expect(log).toMatch(
      /compiled on build\d\n(?:.*\n)*bringup: .*; trying another server\n(?:.*\n)*compiled on build\d\n/,
    );
    await expectNothingHeld(lab);
  });

  it(
    'P24: fails with what was wrong with the last server once each was tried',
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.boolean(), { minLength: 1, maxLength: limits.buildServersTried }),
          fc.constantFrom(...Object.keys(troubles)),
          async (broken, trouble) => {
            const tried: string[] = [];
            await using lab = await labOf(broken.length, async (build) => {
              tried.push(build.server);
              const isBroken = broken[Number(build.server.slice('build'.length)) - 1] === true;
              if (isBroken) troubles[trouble]?.(lab, build.server);
              await finishes(build);
            });
            const { id } = await lab.builds.submitBuild(kernelBuild);
            const done = await ended(lab, id);
            expect(new Set(tried).size).toBe(tried.length);
            expect(done.status).toBe(broken.every(Boolean) ? 'failed' : 'completed');
            await expectNothingHeld(lab);
          },
        ),
        { numRuns: 100 },
      ),
    180_000,
  );

  it('stays failed when it may run on that server alone', async () => {
    await using lab = await labOf(2);
    const [server] = await lab.buildServers.getAllServers();
    const { id } = await lab.builds.submitBuild({ ...kernelBuild, serverId: server?.id ?? '' });
    await lab.clock.advance(10_000);
    lab.reboot(server?.hostname ?? '');
    expect(await ended(lab, id)).toMatchObject({ status: 'failed', error: { code: 'process-lost', retryable: true } });
    await expectNothingHeld(lab);
  });

  it('is not tried elsewhere when it is the source that does not compile', async () => {
    let builds = 0;
    await using lab = await labOf(3, async ({ log }) => {
      builds += 1;
      await log('main.c:1: error: no\n');
      return 2;
    });
    const { id } = await lab.builds.submitBuild(kernelBuild);
    expect(await ended(lab, id)).toMatchObject({ status: 'failed', error: { code: 'build-failed' } });
    expect(builds).toBe(1);
  });

  it(
    'P24: goes elsewhere also when the controller dies while it moves',
    () =>
      fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: 40_000 }), async (crashAfterMs) => {
          const lab = await labOf(2);
          const { id } = await lab.builds.submitBuild(kernelBuild);
          await lab.clock.advance(10_000);
          const first = await serverOf(lab, await lab.builds.getBuildStatus(id));
          troubles['cannot be reached']?.(lab, first);
          await lab.clock.advance(crashAfterMs);
          await lab.crash();
          await using next = await lab.reopen();
          const done = await ended(next, id);
          expect(done.status).toBe('completed');
          expect(await serverOf(next, done)).not.toBe(first);
          await expectNothingHeld(next);
        }),
        { numRuns: 100 },
      ),
    180_000,
  );
});

describe('a build on a server whose disk is full', () => {
  it('E-disk: is paused, told of, goes on once leftovers were removed, and the alert is resolved', async () => {
    await using lab = await labOf(1);
    const { fs } = lab.shell.host('build1');
    const [server] = await lab.buildServers.getAllServers();
    const leftover = `${server?.workspace}/builds/left-behind`;
    fs.makeFolder(leftover, { recursive: true });
    fs.writeFile(`${leftover}/vmlinux`, Buffer.alloc(100_000));
    fs.capacityBytes = fs.usedBytes + 150;
    const phases: string[] = [];
    using _heard = await lab.events.on('build:phase', ({ data }) => phases.push(data.phase ?? ''));
    const { id } = await lab.builds.submitBuild(kernelBuild);
    expect(await ended(lab, id)).toMatchObject({ status: 'completed' });
    expect(phases).toContain('disk-full');
    expect(fs.stat(leftover)).toBeUndefined();
    const told: string[] = [];
    for await (const event of lab.events.read()) if (event.name.startsWith('alert:')) told.push(event.name);
    expect(told).toEqual(['alert:raised', 'alert:resolved']);
    await expectNothingHeld(lab);
  });

  it.each([
    ['makes room', 'bringup-clean'],
    ['has made room and goes to build again', 'bringup-remove'],
  ])('E-disk, P24: loses no byte of its log when the controller dies as it %s', async (_when, script) => {
    const lab = await labOf(1);
    const { fs, history } = lab.shell.host('build1');
    fs.capacityBytes = fs.usedBytes + 150;
    const { id } = await lab.builds.submitBuild(kernelBuild);
    const dead = new Promise<void>((resolve, reject) => {
      history.push = (...argvs) => {
        if (argvs.flat().includes(script)) lab.crash().then(resolve, reject);
        return Array.prototype.push.apply(history, argvs);
      };
    });
    await lab.clock.runUntil(dead);
    Reflect.deleteProperty(history, 'push');
    fs.capacityBytes = 1_000_000;
    await using next = await lab.reopen();
    expect(await ended(next, id)).toMatchObject({ status: 'completed' });
    const log = await textOf(next.builds.getBuildLogs(id));
    const [first = '', again = ''] = log.split(/^bringup: .*; made room, building again\n/m);
    expect(first).toMatch(/^bringup: fetching .*\n/);
    expect(again).toMatch(/^bringup: fetching .*\nbringup: source is at .*\ncompiled on build1\n$/);
  });

  it('E-disk, P24: goes to another server when there is no room to be made', async () => {
    await using lab = await labOf(2);
    // Among equals the one that was registered first is chosen.
    const [first, second] = await lab.buildServers.getAllServers();
    const { fs } = lab.shell.host(first?.hostname ?? '');
    fs.writeFile('/root/somebody-elses', Buffer.alloc(100_000));
    fs.capacityBytes = fs.usedBytes + 150;
    const { id } = await lab.builds.submitBuild(kernelBuild);
    const done = await ended(lab, id);
    expect(done).toMatchObject({ status: 'completed', serverId: second?.id });
    expect(fs.stat('/root/somebody-elses')).toBeDefined();
  });

  it('E-disk: leaves alone what is being built there', async () => {
    await using lab = await labOf(1, async (build) => {
      if (build.args.includes('BIG=1')) build.output('vmlinux', Buffer.alloc(50_000));
      await finishes(build);
    });
    const { id: other } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(5_000);
    const { fs } = lab.shell.host('build1');
    fs.capacityBytes = fs.usedBytes + 30_000;
    const big = { ...kernelBuild, buildConfig: { recipe: 'kernel' as const, extraMakeArgs: ['BIG=1'] } };
    const { id } = await lab.builds.submitBuild(big);
    const [small, failed] = await lab.clock.runUntil(
      Promise.all([lab.builds.waitForBuild(other), lab.builds.waitForBuild(id)]),
    );
    expect(small.status).toBe('completed');
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'disk-full' } });
    await expectNothingHeld(lab);
  });
});

describe('a build that fails', () => {
  it('E-upload, E-checksum: keeps the outputs that were fetched before one could not be, and its log', async () => {
    await using lab = await labOf(1, ({ output }) => {
      output('out/a', 'first');
      output('out/b', 'second');
    });
    const { faults } = lab.shell.host('build1');
    const put = lab.storage.put.bind(lab.storage);
    let puts = 0;
    lab.storage.put = (bytes, options) => {
      // The first file arrives, the second never does, as often as it is tried.
      if ((puts += 1) === 2) faults.corruptDownloads = 1 + limits.transferRetries;
      return put(bytes, options);
    };
    const { id } = await lab.builds.submitBuild({
      ...kernelBuild,
      buildConfig: { recipe: 'make', outputs: [{ type: 'other', path: 'out/*' }] },
    });
    const failed = await ended(lab, id);
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'checksum-mismatch' } });
    const [first, second, log] = failed.artifacts;
    expect(failed.artifacts.map(({ filename }) => filename)).toEqual(['a', 'b', 'build.log']);
    expect([first?.corruptedAt, log?.corruptedAt]).toEqual([undefined, undefined]);
    // The damaged one says so, and is never served.
    expect(second).toMatchObject({ corruptedAt: failed.completedAt });
    await expect(lab.artifacts.readAll({ id: second?.id ?? '' })).rejects.toMatchObject({ code: 'artifact-corrupted' });
    await expectNothingHeld(lab);
  });

  it('E-build-timeout: is stopped, its log so far is kept, and a retry is offered', async () => {
    let runs = 0;
    await using lab = await labOf(1, async (build) => {
      runs += 1;
      await build.log('half way\n');
      if (runs === 1) await build.sleep(10_000_000);
      await finishes(build);
    });
    const { id } = await lab.builds.submitBuild({ ...kernelBuild, timeoutMs: 120_000 });
    const failed = await ended(lab, id);
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'deadline-exceeded', retryable: true } });
    const log = failed.artifacts.find(({ artifactType }) => artifactType === 'build_log') ?? expect.fail();
    expect((await lab.artifacts.readAll(log)).toString()).toContain('half way\n');
    const { id: again } = await lab.builds.retryBuild(id);
    expect(await ended(lab, again)).toMatchObject({ status: 'completed' });
  });
});

it('R15.1: a finished build tells its server, how long it took, what it used and where its files are', async () => {
  await using lab = await labOf(1);
  const { id } = await lab.builds.submitBuild(kernelBuild);
  const [server] = await lab.buildServers.getAllServers();
  const done = await ended(lab, id);
  expect(done).toMatchObject({ serverId: server?.id, resourceUse: { cpuSeconds: 60, storageMb: 1 } });
  expect(done.durationSeconds).toBeGreaterThanOrEqual(60);
  expect(done.artifacts.map(({ filename }) => filename)).toContain('bzImage');
});
