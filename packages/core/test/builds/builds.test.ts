import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BringupError, limits } from '@bringup/core';
import { memoryLab, type MemoryBuildFunction, type MemoryLab } from '@bringup/core/testing';
import { expectNothingHeld } from '../support/leftovers.ts';
import { headCommit, kernelBuild, kernelUrl, oldCommit, repositories, textOf } from '../support/requests.ts';

const wrote = Array.from({ length: 30 }, (_, line) => `  CC      file${line}.o\n`);
/** Thirty lines in thirty seconds, then a kernel. */
const slow: MemoryBuildFunction = async ({ log, sleep, output }) => {
  for (const line of wrote) {
    await log(line);
    await sleep(1_000);
  }
  output('arch/x86/boot/bzImage', 'kernel');
  output('.config', 'CONFIG_64BIT=y\n');
};

const compiled = (log: string): string[] => log.match(/ {2}CC.*\n/g) ?? [];

async function labWith(build?: MemoryBuildFunction): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, ...(build !== undefined && { build }) });
  await lab.addServer();
  return lab;
}

async function run(
  lab: MemoryLab,
  request = kernelBuild,
): Promise<Awaited<ReturnType<MemoryLab['builds']['waitForBuild']>>> {
  const { id } = await lab.builds.submitBuild(request);
  return lab.clock.runUntil(lab.builds.waitForBuild(id));
}

describe('a build', () => {
  it('R4.1, R4.2, P4: stores what it made under the checksums of the files', () =>
    fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(fc.stringMatching(/^[a-z]{1,8}$/), fc.uint8Array({ maxLength: 300 })), {
          minLength: 1,
          maxLength: 4,
          selector: ([name]) => name,
        }),
        async (files) => {
          await using lab = await labWith(({ output }) => {
            for (const [name, bytes] of files) output(`out/${name}`, bytes);
          });
          const done = await run(lab, {
            ...kernelBuild,
            buildConfig: { recipe: 'make', outputs: [{ type: 'other', path: 'out/*' }] },
          });
          expect(done.status).toBe('completed');
          const made = done.artifacts.filter(({ artifactType }) => artifactType === 'other');
          expect(made.map(({ filename }) => filename).sort()).toEqual(files.map(([name]) => name).sort());
          for (const artifact of made) {
            const bytes = files.find(([name]) => name === artifact.filename)?.[1] ?? expect.fail();
            expect((await lab.artifacts.readAll(artifact)).equals(bytes)).toBe(true);
            expect(artifact).toMatchObject({
              sizeBytes: bytes.byteLength,
              checksumSha256: Buffer.from(await crypto.subtle.digest('SHA-256', Uint8Array.from(bytes))).toString(
                'hex',
              ),
            });
          }
        },
      ),
      { numRuns: 100 },
    ));

  it('R4.5, P5: is the same by its id, by its commit and as the latest of its branch', async () => {
    await using lab = await labWith();
    await run(lab, { ...kernelBuild, branch: 'main' });
    const newest = await run(lab, { ...kernelBuild, branch: 'main' });
    const byId = await lab.artifacts.select({ buildId: newest.id });
    expect(await lab.artifacts.select({ commitHash: headCommit })).toEqual(byId);
    expect(await lab.artifacts.select({ branch: 'main', sourceRepository: kernelUrl })).toEqual(byId);
    expect(byId.artifacts).toEqual(newest.artifacts);
  });

  it('R3.1: takes the commit that is asked for, given by its first digits', async () => {
    await using lab = await labWith();
    expect(await run(lab, { ...kernelBuild, commitHash: oldCommit.slice(0, 12) })).toMatchObject({
      status: 'completed',
      commitHash: oldCommit,
    });
  });

  it('leaves nothing behind on its server', async () => {
    await using lab = await labWith();
    const { id } = await run(lab);
    const server = (await lab.buildServers.getAllServers())[0] ?? expect.fail();
    expect(lab.shell.host('build1').fs.stat(`${server.workspace}/builds/${id}`)).toBeUndefined();
    await expectNothingHeld(lab);
  });

  it('E-compile: that does not compile fails with the lines that tell why, and keeps its log', async () => {
    await using lab = await labWith(async ({ log }) => {
      await log(
        '  CC      main.o\nmain.c:3:1: error: unknown type name ‘itn’\nmake: *** [Makefile:2: main.o] Error 1\n',
      );
      return 2;
    });
    const failed = await run(lab);
    expect(failed).toMatchObject({
      status: 'failed',
      error: {
        code: 'build-failed',
        details: {
          exitCode: 2,
          errorLines: ['main.c:3:1: error: unknown type name ‘itn’', 'make: *** [Makefile:2: main.o] Error 1'],
        },
      },
    });
    const log = failed.artifacts.find(({ artifactType }) => artifactType === 'build_log') ?? expect.fail();
    expect((await lab.artifacts.readAll(log)).toString()).toContain('error: unknown type');
    await expectNothingHeld(lab);
  });

  it.each([
    ['source-missing', { sourceRepository: 'https://git.example/none.git' }],
    ['source-missing', { sourceRepository: '/no/such/tree' }],
    ['commit-not-found', { branch: 'nowhere' }],
    ['commit-not-found', { commitHash: 'deadbeef' }],
  ] as const)('fails with %s for %o', async (code, change) => {
    await using lab = await labWith();
    expect(await run(lab, { ...kernelBuild, ...change })).toMatchObject({ status: 'failed', error: { code } });
    await expectNothingHeld(lab);
  });

  it('E-no-match: fails with no-match where no server has the compiler, and names what there is', async () => {
    await using lab = await labWith();
    const failed = await run(lab, { ...kernelBuild, targetArchitecture: 'riscv64' });
    expect(failed.error).toMatchObject({
      code: 'no-match',
      details: { rejections: [{ name: 'build1', reasons: [{ requirement: 'architecture', wanted: 'riscv64' }] }] },
    });
  });

  it('fails with disk-full when the server’s disk is', async () => {
    await using lab = await labWith(({ output }) => output('vmlinux', Buffer.alloc(5_000)));
    lab.shell.host('build1').fs.capacityBytes = 4_000;
    expect(await run(lab)).toMatchObject({ status: 'failed', error: { code: 'disk-full' } });
    await expectNothingHeld(lab);
  });

  it('fails with output-missing when it did not make what it declared', async () => {
    await using lab = await labWith(() => 0);
    expect(await run(lab)).toMatchObject({ status: 'failed', error: { code: 'output-missing' } });
    await expectNothingHeld(lab);
  });

  it.each([
    [
      'authentication-failed',
      (lab: MemoryLab): unknown => (lab.shell.host('build1').faults.rejectAuthentication = true),
    ],
    [
      'host-key-changed',
      (lab: MemoryLab): unknown =>
        (lab.shell.host('build1').faults.failConnection = new BringupError('host-key-changed', 'another key')),
    ],
    ['connection-failed', (lab: MemoryLab): unknown => (lab.shell.host('build1').faults.refuseConnection = true)],
  ] as const)('fails with %s when its server can’t be reached for that reason', async (code, breakIt) => {
    await using lab = await labWith();
    breakIt(lab);
    expect(await run(lab)).toMatchObject({ status: 'failed', error: { code } });
    await expectNothingHeld(lab);
  });

  it('R3.5: whose connection breaks again and again goes on, its log byte for byte', async () => {
    await using lab = await labWith(slow);
    const { id } = await lab.builds.submitBuild(kernelBuild);
    const followed = textOf(lab.builds.getBuildLogs(id, { follow: true }));
    for (let second = 0; second < 30; second += 3) {
      await lab.clock.advance(3_000);
      lab.shell.host('build1').dropConnections();
    }
    const done = await lab.clock.runUntil(lab.builds.waitForBuild(id));
    expect(done.status).toBe('completed');
    expect(compiled(await lab.clock.runUntil(followed))).toEqual(wrote);
  });

  it('whose connection breaks while its outputs are fetched is completed all the same', async () => {
    await using lab = await labWith();
    lab.shell.host('build1').faults.corruptDownloads = 2;
    const { id } = await lab.builds.submitBuild(kernelBuild);
    using _cut = await lab.events.on('build:phase', ({ data }) => {
      if (data.phase === 'collecting') lab.shell.host('build1').dropConnections();
    });
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({ status: 'completed' });
  });

  it('whose server is rebooted fails with process-lost', async () => {
    await using lab = await labWith(slow);
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(5_000);
    lab.reboot('build1');
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({
      status: 'failed',
      error: { code: 'process-lost' },
    });
    await expectNothingHeld(lab);
  });

  it('is stopped on its server when it is cancelled, and its log ends there', async () => {
    let stopped = false;
    await using lab = await labWith(async ({ log, sleep, signal }) => {
      signal.addEventListener('abort', () => (stopped = true));
      await log('begun\n');
      await sleep(10_000_000);
    });
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(2_000);
    await lab.builds.cancelBuild(id);
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({ status: 'cancelled' });
    expect(stopped).toBe(true);
    expect(await textOf(lab.builds.getBuildLogs(id, { follow: true }))).toContain('begun\n');
    await expectNothingHeld(lab);
  });

  it('takes too long only once, and is stopped', async () => {
    await using lab = await labWith(({ sleep }) => sleep(10_000_000));
    const failed = await run(lab, { ...kernelBuild, timeoutMs: 60_000 });
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'deadline-exceeded', retryable: true } });
    await expectNothingHeld(lab);
  });

  it('waits for a slot, and takes it as soon as it is free', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer({ maxConcurrentBuilds: 1 });
    const ids: string[] = [];
    for (let n = 0; n < 3; n += 1) ids.push((await lab.builds.submitBuild(kernelBuild)).id);
    await lab.clock.settle();
    expect((await lab.builds.getBuildStatus(ids[2] ?? '')).status).toBe('queued');
    const done = await lab.clock.runUntil(Promise.all(ids.map((id) => lab.builds.waitForBuild(id))));
    expect(done.map(({ status }) => status)).toEqual(['completed', 'completed', 'completed']);
    const [first, second] = done;
    expect(second?.completedAt ?? 0).toBeLessThan((first?.completedAt ?? 0) + limits.waitingRecheckMs);
    await expectNothingHeld(lab);
  });

  it('is run again as it was by a retry', async () => {
    let broken = true;
    await using lab = await labWith(async (build) => (broken ? 2 : slow(build)));
    const { id } = await run(lab);
    broken = false;
    const again = await lab.builds.retryBuild(id);
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(again.id))).toMatchObject({
      status: 'completed',
      buildConfig: kernelBuild.buildConfig,
    });
  });

  it('whose controller dies goes on in the next one from where its log was', async () => {
    let started = 0;
    const lab = await labWith((build) => {
      started += 1;
      return slow(build);
    });
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(7_300);
    await lab.crash();
    await using next = await lab.reopen();
    expect(await next.clock.runUntil(next.builds.waitForBuild(id))).toMatchObject({ status: 'completed' });
    expect(started).toBe(1);
    expect(compiled(await textOf(next.builds.getBuildLogs(id)))).toEqual(wrote);
  });
});

it('R3.1: names one issue for each field of a build that is wrong', async () => {
  await using lab = await memoryLab();
  const wrong = {
    ...kernelBuild,
    sourceRepository: 'https://me:secret@git.example/x',
    commitHash: 'xyz',
    buildConfig: { recipe: 'make' as const, outputs: [] },
  };
  await expect(lab.builds.submitBuild(wrong)).rejects.toMatchObject({
    code: 'invalid-input',
    details: { issues: [{ path: 'sourceRepository' }, { path: 'commitHash' }, { path: 'buildConfig.outputs' }] },
  });
});
