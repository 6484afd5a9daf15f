import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BringupError, limits, type LabEvent, type Pipeline, type StageName } from '@bringup/core';
import { memoryGuests, memoryLab, type MemoryLab, type MemoryLabOptions } from '@bringup/core/testing';
import { expectNothingHeld } from '../support/leftovers.ts';
import { headCommit, kernelPipeline, repositories, textOf } from '../support/requests.ts';

async function labWith(options: MemoryLabOptions = {}): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, ...options });
  await lab.addServer();
  await lab.addHost();
  return lab;
}

const statuses = (pipeline: Pipeline): string[] => pipeline.stages.map(({ status }) => status);

/** Lets the pipeline come to the point where a stage of it runs. */
async function untilStage(lab: MemoryLab, id: string, stage: StageName, phase?: string): Promise<void> {
  await lab.clock.runUntil(
    (async () => {
      for await (const event of lab.events.read({ follow: true })) {
        const current = await lab.pipelines.getPipelineStatus(id);
        const { status, phase: at } = current.stages.find(({ name }) => name === stage) ?? {};
        if (status === 'running' && (phase === undefined || at === phase)) return event;
        if (current.completedAt !== undefined) throw new Error(`the pipeline ended before ${stage} ran`);
      }
      return undefined;
    })(),
  );
}

describe('a pipeline', () => {
  it('builds, deploys, boots and tests, and gives everything back', async () => {
    await using lab = await labWith();
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    const done = await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    expect(done).toMatchObject({ status: 'completed', commitHash: headCommit });
    expect(statuses(done)).toEqual(['completed', 'completed', 'completed', 'completed']);
    await expectNothingHeld(lab);
  });

  it('P7: starts each stage only after the one before has completed', async () => {
    await using lab = await labWith();
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    const { stages } = await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    const order: string[] = [];
    for await (const { name, subject } of lab.events.read()) {
      const stage = stages.find(({ outputId }) => outputId === subject);
      if (stage !== undefined && /:(queued|succeeded)$/.test(name)) order.push(`${stage.name} ${name.split(':')[1]}`);
    }
    expect(order).toEqual([
      'build queued',
      'build succeeded',
      'deploy queued',
      'deploy succeeded',
      'boot queued',
      'boot succeeded',
      'test queued',
      'test succeeded',
    ]);
  });

  it('P7: holds nothing after any end, and has begun no stage after the one that failed', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom('build', 'deploy', 'boot', 'test', undefined),
        fc.nat(4),
        fc.nat(3),
        async (broken, drops, lostCalls) => {
          await using lab = await labWith({
            ...(broken === 'build' && { build: () => 2 }),
            guest: async (guest) => {
              if (broken === 'boot') return memoryGuests.panics(guest);
              guest.say(broken === 'test' ? 'KTAP version 1\n1..1\nnot ok 1 a\n' : 'KTAP version 1\n1..1\nok 1 a\n');
            },
          });
          if (broken === 'deploy') lab.shell.host('host1').fs.capacityBytes = 1;
          for (let n = 0; n < lostCalls; n += 1)
            lab.hypervisor.failNext('getVm', new BringupError('connection-lost', 'injected', { retryable: true }));
          const { id } = await lab.pipelines.createPipeline(kernelPipeline);
          for (let n = 0; n < drops; n += 1) {
            await lab.clock.advance(300);
            for (const name of ['build1', 'host1']) lab.shell.host(name).dropConnections();
          }
          const done = await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
          const failedAt = broken === undefined ? 4 : ['build', 'deploy', 'boot', 'test'].indexOf(broken);
          expect(statuses(done)).toEqual(
            ['build', 'deploy', 'boot', 'test'].map((_name, at) =>
              at < failedAt ? 'completed' : at === failedAt ? 'failed' : 'skipped',
            ),
          );
          await expectNothingHeld(lab);
        },
      ),
      { numRuns: 100 },
    ));

  it('gives the logs of its stages byte for byte', async () => {
    await using lab = await labWith();
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    const following = (['build', 'boot'] as const).map((stage) =>
      textOf(lab.pipelines.getStageLogs(id, stage, { follow: true })),
    );
    await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    const [build, boot] = await lab.clock.runUntil(Promise.all(following));
    expect(build).toBe(
      `bringup: fetching ${kernelPipeline.sourceRepository}\nbringup: source is at ${headCommit}\n  CC      init/main.o\n  LD      vmlinux\n`,
    );
    expect(boot).toContain('Linux version 6.1.0');
    expect(await textOf(lab.pipelines.getStageLogs(id, 'build', { offset: 9 }))).toBe(build?.slice(9));
  });

  it('halts at the stage that fails, keeps what was made, and gives the environment back', async () => {
    await using lab = await labWith({ guest: memoryGuests.panics });
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    const done = await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    expect(done).toMatchObject({ status: 'failed', error: { code: 'boot-failed', details: { stage: 'boot' } } });
    expect(statuses(done)).toEqual(['completed', 'completed', 'failed', 'skipped']);
    const boot = done.stages[2]?.outputId ?? '';
    const kept = await lab.artifacts.getArtifactsByProducer(boot);
    expect(kept.map(({ filename }) => filename)).toEqual(['boot.log']);
    expect((await lab.artifacts.readAll(kept[0] ?? expect.fail())).toString()).toContain('Kernel panic');
    await expectNothingHeld(lab);
  });

  it.each(['build', 'deploy', 'boot', 'test'] as const)(
    'leaves nothing reserved when it is cancelled in %s',
    async (stage) => {
      const forever: MemoryLabOptions = {
        ...(stage === 'build' && { build: ({ sleep }) => sleep(10_000_000) }),
        ...(stage === 'boot' && { guest: async (guest) => (guest.say('booting\n'), guest.idle()) }),
        ...(stage === 'test' && {
          guest: async (guest) => (guest.say('KTAP version 1\n1..2\nok 1 a\n'), guest.idle()),
        }),
      };
      await using lab = await labWith(forever);
      if (stage === 'deploy') await lab.hosts.setMaintenanceMode((await lab.hosts.findHost('host1'))?.id ?? '', true);
      const { id } = await lab.pipelines.createPipeline(kernelPipeline);
      await untilStage(lab, id, stage);
      await lab.pipelines.cancelPipeline(id);
      const begun = lab.clock.now();
      const done = await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
      expect(done.status).toBe('cancelled');
      expect(done.stages.find(({ name }) => name === stage)?.status).toBe('cancelled');
      expect(lab.clock.now() - begun).toBeLessThan(20_000);
      await expectNothingHeld(lab);
    },
  );

  it('ends at its deadline, and so does the stage it is in', async () => {
    await using lab = await labWith({ build: ({ sleep }) => sleep(10_000_000) });
    const { id } = await lab.pipelines.createPipeline({ ...kernelPipeline, timeoutMs: 60_000 });
    const done = await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    expect(done).toMatchObject({ status: 'failed', error: { code: 'deadline-exceeded' } });
    expect((done.completedAt ?? 0) - done.createdAt).toBeLessThan(70_000);
    await expectNothingHeld(lab);
  });

  it.each(['deploy', 'boot', 'test'] as const)('goes on from %s with the build it has', async (stage) => {
    let broken = true;
    await using lab = await labWith({
      guest: (guest) => (broken ? memoryGuests.panics(guest) : memoryGuests.passes(guest)),
    });
    const first = await lab.pipelines.createPipeline(kernelPipeline);
    const failed = await lab.clock.runUntil(lab.pipelines.waitForPipeline(first.id));
    broken = false;
    const second = await lab.pipelines.retryPipelineStage(first.id, stage);
    const done = await lab.clock.runUntil(lab.pipelines.waitForPipeline(second.id));
    expect(done.status).toBe('completed');
    expect(done.stages[0]?.outputId).toBe(failed.stages[0]?.outputId);
    expect((await lab.builds.getBuildHistory()).length).toBe(1);
  });

  it('builds anew when it is retried from the build, and refuses other stages without one', async () => {
    let broken = true;
    await using lab = await labWith({
      build: ({ output }) => {
        if (broken) return 2;
        output('arch/x86/boot/bzImage', 'kernel');
        output('.config', '');
        return 0;
      },
    });
    const first = await lab.pipelines.createPipeline(kernelPipeline);
    await expect(lab.pipelines.retryPipelineStage(first.id, 'build')).rejects.toMatchObject({ code: 'conflict' });
    await lab.clock.runUntil(lab.pipelines.waitForPipeline(first.id));
    await expect(lab.pipelines.retryPipelineStage(first.id, 'boot')).rejects.toMatchObject({ code: 'conflict' });
    broken = false;
    const second = await lab.pipelines.retryPipelineStage(first.id, 'build');
    expect((await lab.clock.runUntil(lab.pipelines.waitForPipeline(second.id))).status).toBe('completed');
  });

  it('tells one issue a field of a request that is not valid', async () => {
    await using lab = await labWith();
    const wrong = {
      ...kernelPipeline,
      sourceRepository: 'ext::sh -c id',
      branch: '-x',
      tests: { from: 'console' as const, quietMs: -1 },
    };
    await expect(lab.pipelines.createPipeline(wrong)).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'sourceRepository' }, { path: 'branch' }, { path: 'tests.quietMs' }] },
    });
  });
});

describe('a pipeline whose controller dies', () => {
  const slow: MemoryLabOptions = {
    build: async ({ log, sleep, output }) => {
      for (let line = 0; line < 20; line += 1) {
        await log(`line ${line}\n`);
        await sleep(1_000);
      }
      output('arch/x86/boot/bzImage', 'kernel');
      output('.config', '');
    },
    guest: async (guest) => {
      for (let line = 0; line < 20; line += 1) {
        guest.say(`booting ${line}\r\n`);
        await guest.sleep(1_000);
      }
      guest.say('KTAP version 1\r\n1..2\r\nok 1 a\r\n');
      await guest.sleep(5_000);
      guest.say('ok 2 b\r\n');
    },
  };

  it.each(['build', 'boot', 'test'] as const)('in %s goes on where it was, and does nothing twice', async (stage) => {
    const lab = await labWith(slow);
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    await untilStage(lab, id, stage);
    await lab.clock.advance(3_500);
    await lab.crash();
    const crashedAt = lab.clock.now();
    await using next = await lab.reopen();
    const done = await next.clock.runUntil(next.pipelines.waitForPipeline(id));
    expect(done.status).toBe('completed');
    expect(next.clock.now() - crashedAt).toBeGreaterThan(limits.leaseMs - limits.heartbeatMs);
    const [build, boot, test] = await Promise.all(
      (['build', 'boot', 'test'] as const).map((name) => textOf(next.pipelines.getStageLogs(id, name))),
    );
    expect(build?.match(/line \d+/g)).toEqual(Array.from({ length: 20 }, (_, line) => `line ${line}`));
    expect(boot?.match(/booting \d+/g)).toEqual(Array.from({ length: 20 }, (_, line) => `booting ${line}`));
    expect(`${boot}${test}`.match(/ok \d/g)).toEqual(['ok 1', 'ok 2']);
    expect(next.shell.host('build1').history.filter((argv) => argv[3] === 'bringup-start').length).toBeLessThanOrEqual(
      2,
    );
    await expectNothingHeld(next);
  });

  it('at any point goes on all the same, and leaves nothing behind', async () => {
    const whole = await labWith({ guest: memoryGuests.passes });
    const { id } = await whole.pipelines.createPipeline(kernelPipeline);
    await whole.clock.runUntil(whole.pipelines.waitForPipeline(id));
    const events: LabEvent[] = [];
    for await (const event of whole.events.read()) events.push(event);
    await whole[Symbol.asyncDispose]();
    // One lab for each: every sixth event is enough, and different kinds of them.
    for (const { seq, name } of events.filter((_event, index) => index % 6 === 2)) {
      const lab = await labWith({ guest: memoryGuests.passes });
      const { id: pipelineId } = await lab.pipelines.createPipeline(kernelPipeline);
      await lab.clock.runUntil(
        (async () => {
          for await (const event of lab.events.read({ follow: true })) if (event.seq >= seq) return;
        })(),
      );
      await lab.crash();
      await using next = await lab.reopen();
      const done = await next.clock.runUntil(next.pipelines.waitForPipeline(pipelineId));
      expect(done.status, `crashed after ${name}`).toBe('completed');
      await expectNothingHeld(next);
    }
  });
});
