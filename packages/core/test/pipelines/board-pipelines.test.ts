import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stageNames } from '../../src/model/pipeline.ts';
import { limits, type LabEvent, type Pipeline, type PipelineRequest } from '@bringup/core';
import {
  memoryGuests,
  memoryLab,
  type MemoryGuest,
  type MemoryLab,
  type MemoryLabOptions,
} from '@bringup/core/testing';
import { boots } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelPipeline, repositories, textOf } from '../support/requests.ts';

const boardPipeline: PipelineRequest = { ...kernelPipeline, environmentType: 'physical_board' };

async function labWith(options: MemoryLabOptions = {}): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, boardGuest: memoryGuests.passes, ...options });
  await lab.addServer();
  await lab.addHost();
  await lab.addBoard();
  return lab;
}

async function run(lab: MemoryLab, request: PipelineRequest): Promise<Pipeline> {
  const { id } = await lab.pipelines.createPipeline(request);
  return lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
}

describe('a pipeline on a board', () => {
  it('R17.1, R17.2, R17.3: builds, flashes, boots and reads the results that the board prints at boot', async () => {
    await using lab = await labWith({
      boardGuest: async (guest) => {
        guest.say('Linux version 6.1.0\r\nKTAP version 1\r\n1..3\r\nok 1 a\r\n');
        await guest.sleep(300);
        guest.say('ok 2 b\r\n');
        await guest.sleep(5_000);
        guest.say('ok 3 c\r\n');
      },
    });
    const done = await run(lab, { ...boardPipeline, environmentConfig: { boardTypes: ['evaluation'] } });
    expect(done).toMatchObject({ status: 'completed', environmentType: 'physical_board' });
    expect(done.environmentId).toBe(done.stages[1]?.outputId);
    expect(done.stages.every(({ durationSeconds }) => durationSeconds !== undefined)).toBe(true);
    const tests = await lab.testRuns.getTestRun(done.stages[3]?.outputId ?? '');
    expect(tests.results?.totals).toMatchObject({ total: 3, pass: 3 });
    const log = await Promise.all(
      (['boot', 'test'] as const).map((stage) => textOf(lab.pipelines.getStageLogs(done.id, stage))),
    );
    expect(log.join('').match(/ok \d \w/g)).toEqual(['ok 1 a', 'ok 2 b', 'ok 3 c']);
    await expectNothingHeld(lab);
  });

  it('runs commands in a shell on the console, and over the board’s own shell', async () => {
    await using lab = await labWith({ boardGuest: memoryGuests.shell });
    lab.shell.commands.set('selftest', async ({ stdout }) => stdout.write('TAP version 13\n1..1\nok 1 works\n'));
    for (const from of ['console-shell', 'shell'] as const) {
      const done = await run(lab, {
        ...boardPipeline,
        tests: { from, commands: [{ name: 'selftest', argv: ['selftest'] }] },
      });
      expect(done.errorMessage).toBeUndefined();
      const { results } = await lab.testRuns.getTestRun(done.stages[3]?.outputId ?? '');
      expect(results?.totals).toMatchObject({ total: 1, pass: 1 });
    }
    await expectNothingHeld(lab);
  });

  it('R17.4: that fails keeps what was made and its logs, and gives the board back', async () => {
    await using lab = await labWith({ boardGuest: memoryGuests.panics });
    const failed = await run(lab, boardPipeline);
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'boot-failed', details: { stage: 'boot' } } });
    expect(failed.stages.map(({ status }) => status)).toEqual(['completed', 'completed', 'failed', 'skipped']);
    expect(await textOf(lab.pipelines.getStageLogs(failed.id, 'boot'))).toContain('Kernel panic');
    expect((await lab.artifacts.getArtifactsByBuild(failed.stages[0]?.outputId ?? '')).length).toBeGreaterThan(0);
    expect((await lab.boards.findBoard('board1'))?.status).toBe('available');
    await expectNothingHeld(lab);
  });

  it.each([
    ['power-cycle', ['hang']],
    ['leave', []],
  ] as const)(
    'R18.3: that hangs during its tests fails; the policy %s decides about its power',
    async (policy, cycled) => {
      await using lab = await labWith({
        boardGuest: async (guest) => {
          guest.say('Linux version 6.1.0\r\nKTAP version 1\r\n1..2\r\nok 1 a\r\n');
          await guest.sleep(100_000_000);
        },
      });
      const tests = { from: 'console', timeoutMs: 60_000, hangPolicy: policy } as const;
      const failed = await run(lab, { ...boardPipeline, tests });
      expect(failed).toMatchObject({ status: 'failed', error: { code: 'tests-failed', details: { stage: 'test' } } });
      const [board] = await lab.boards.getAllBoards();
      const history = await lab.power.getPowerHistory(board?.id ?? '');
      expect(history.map(({ trigger }) => trigger).filter((trigger) => trigger === 'hang')).toEqual(cycled);
      await expectNothingHeld(lab);
    },
  );

  it('R18.3: that hangs a board which only has its console is seen to come back on it, at once', async () => {
    let boots = 0;
    await using lab = await memoryLab({
      repositories,
      boardGuest: async (guest) => {
        boots += 1;
        if (boots > 1) return memoryGuests.shell(guest);
        guest.say('Linux version 6.1.0\r\nKTAP version 1\r\n1..2\r\nok 1 a\r\n');
        return guest.idle();
      },
    });
    await lab.addServer();
    await lab.clock.runUntil(lab.addBoard({ without: ['shell'], architecture: 'x86_64' }));
    const failed = await run(lab, { ...boardPipeline, tests: { from: 'console', timeoutMs: 10_000 } });
    expect(failed).toMatchObject({ status: 'failed', error: { details: { stage: 'test' } } });
    const [board] = await lab.boards.getAllBoards();
    expect(board?.status).toBe('available');
    const [cycle] = await lab.power.getPowerHistory(board?.id ?? '');
    expect(cycle).toMatchObject({ trigger: 'hang', state: 'succeeded', result: 'answered' });
    // Its console was kept for who would go on with the tests: nobody will.
    expect((cycle?.answeredAt ?? Infinity) - (cycle?.onAt ?? 0)).toBeLessThan(limits.consoleKeptMs / 2);
    await expectNothingHeld(lab);
  });

  it('R17.5: are counted with their stages: how many succeeded, and how long they took', async () => {
    let broken = false;
    await using lab = await labWith({
      boardGuest: (guest) => (broken ? memoryGuests.panics(guest) : memoryGuests.passes(guest)),
    });
    expect(await lab.pipelines.getPipelineStatistics()).toMatchObject({ total: 0, completed: 0 });
    await run(lab, boardPipeline);
    await run(lab, kernelPipeline);
    broken = true;
    await run(lab, boardPipeline);
    const all = await lab.pipelines.getPipelineStatistics();
    expect(all).toMatchObject({ total: 3, completed: 2, failed: 1, cancelled: 0, unfinished: 0, successRate: 2 / 3 });
    expect(all.stages.map(({ name, runs, failed }) => [name, runs, failed])).toEqual([
      ['build', 3, 0],
      ['deploy', 3, 0],
      ['boot', 3, 1],
      ['test', 2, 0],
    ]);
    expect(all.stages.every(({ meanDurationSeconds }) => (meanDurationSeconds ?? -1) >= 0)).toBe(true);
    expect(await lab.pipelines.getPipelineStatistics({ environmentType: 'physical_board' })).toMatchObject({
      total: 2,
      successRate: 0.5,
    });
    expect(await lab.pipelines.getPipelineStatistics({ since: lab.clock.now() + 1 })).toMatchObject({ total: 0 });
  });

  it('refuses a board’s settings for a VM and a VM’s for a board', async () => {
    await using lab = await labWith();
    await expect(
      lab.pipelines.createPipeline({ ...boardPipeline, environmentConfig: { hostId: 'h' } }),
    ).rejects.toMatchObject({ code: 'invalid-input', details: { issues: [{ path: 'environmentConfig.hostId' }] } });
    await expect(
      lab.pipelines.createPipeline({ ...kernelPipeline, environmentConfig: { boardId: 'b' } }),
    ).rejects.toMatchObject({ code: 'invalid-input', details: { issues: [{ path: 'environmentConfig.boardId' }] } });
  });
});

/** What may happen to a pipeline on its way. */
type Blow = { readonly afterEvents: number; readonly what: 'crash' | 'cut' };

it(
  'P7: on VMs and boards, whatever fails and however often the controller dies, stages go in order',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom('qemu', 'physical_board' as const),
        fc.constantFrom('build', 'boot', 'test', undefined),
        fc.array(
          fc.record({ afterEvents: fc.integer({ min: 1, max: 12 }), what: fc.constantFrom('crash', 'cut' as const) }),
          { maxLength: 3 },
        ),
        async (environmentType, broken, blows) => {
          const guest = async (machine: MemoryGuest): Promise<void> => {
            if (broken === 'boot') return memoryGuests.panics(machine);
            machine.say(`KTAP version 1\n1..1\n${broken === 'test' ? 'not ok' : 'ok'} 1 a\n`);
            // A VM that ends by itself is told from one that a blow has ended.
            if (environmentType === 'physical_board') await boots(machine);
          };
          let lab = await labWith({ guest, boardGuest: guest, ...(broken === 'build' && { build: () => 2 }) });
          const { id } = await lab.pipelines.createPipeline({
            ...kernelPipeline,
            environmentType: environmentType as 'qemu',
          });
          for (const blow of blows) lab = await strike(lab, id, blow);
          await using last = lab;
          const done = await last.clock.runUntil(last.pipelines.waitForPipeline(id));
          const failedAt = broken === undefined ? 4 : stageNames.indexOf(broken);
          expect(done.stages.map(({ status }) => status)).toEqual(
            stageNames.map((_name, at) => (at < failedAt ? 'completed' : at === failedAt ? 'failed' : 'skipped')),
          );
          await expectInOrder(last, done);
          await expectNothingHeld(last);
        },
      ),
      { numRuns: 100 },
    ),
  240_000,
);

/** Waits for so many events, then kills the controller or cuts its connections. */
async function strike(lab: MemoryLab, pipelineId: string, { afterEvents, what }: Blow): Promise<MemoryLab> {
  const stop = new AbortController();
  let seen = 0;
  const reached = (async () => {
    for await (const { seq } of lab.events.read({ follow: true, signal: stop.signal })) {
      seen += 1;
      if (seq > 0 && seen >= afterEvents * 5) return;
    }
  })().catch(() => undefined);
  await lab.clock.runUntil(Promise.race([reached, lab.pipelines.waitForPipeline(pipelineId)]));
  stop.abort();
  if (what === 'crash') {
    await lab.crash();
    return lab.reopen();
  }
  for (const name of ['build1', 'host1']) lab.shell.host(name).dropConnections();
  await lab.hypervisor.disconnect();
  return lab;
}

/** Each stage was queued once, after the one before had succeeded. */
async function expectInOrder(lab: MemoryLab, { stages }: Pipeline): Promise<void> {
  const events: LabEvent[] = [];
  for await (const event of lab.events.read()) events.push(event);
  let before = 0;
  for (const { outputId, status } of stages) {
    const own = events.filter(({ subject }) => subject === outputId);
    const queued = own.filter(({ name }) => name.endsWith(':queued'));
    expect(queued.length).toBe(status === 'skipped' ? 0 : 1);
    if (queued[0] === undefined) continue;
    expect(queued[0].seq).toBeGreaterThan(before);
    before = own.find(({ name }) => name.endsWith(':succeeded'))?.seq ?? Number.MAX_SAFE_INTEGER;
  }
}
