import fc from 'fast-check';
import { assert, it } from 'vitest';
import type { Pipeline, PipelineStage, StageName } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelPipeline, repositories } from '../support/requests.ts';

/** What was last seen of the pipeline, and what was asked of it. */
interface Model {
  stages: readonly PipelineStage[];
  cancelled: boolean;
}

interface Real {
  lab: MemoryLab;
  readonly id: string;
}

type Command = fc.AsyncCommand<Model, Real>;

const over: readonly PipelineStage['status'][] = ['completed', 'failed', 'cancelled', 'skipped'];

/** A stage has begun only if all before it have completed, and nothing that was over changes. */
function check(model: Model, { stages, completedAt }: Pipeline): void {
  assert.deepEqual(
    stages.map(({ name }) => name),
    ['build', 'deploy', 'boot', 'test'] satisfies StageName[],
  );
  for (const [at, stage] of stages.entries()) {
    const before = stages[at - 1];
    if (before !== undefined && before.status !== 'completed') {
      assert.include(
        ['pending', 'skipped'],
        stage.status,
        `${stage.name} after a ${before.name} that is ${before.status}`,
      );
    }
    if (before?.completedAt !== undefined && stage.startedAt !== undefined) {
      assert.isAtLeast(stage.startedAt, before.completedAt, `${stage.name} began before ${before.name} was over`);
    }
    if (completedAt !== undefined) assert.include(over, stage.status, `${stage.name} of an ended pipeline`);
    const seen = model.stages[at];
    if (seen !== undefined && over.includes(seen.status)) assert.equal(stage.status, seen.status, stage.name);
  }
  model.stages = stages;
}

/** Something that happens, after which the pipeline must still be in order. */
class Happening implements Command {
  readonly #name: string;
  readonly #act: (model: Model, real: Real) => Promise<void>;

  constructor(name: string, act: (model: Model, real: Real) => Promise<void>) {
    this.#name = name;
    this.#act = act;
  }

  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    await this.#act(model, real);
    check(model, await real.lab.pipelines.getPipelineStatus(real.id));
  }
  toString = (): string => this.#name;
}

const happenings = [
  fc
    .integer({ min: 1, max: 3_000 })
    .map((ms) => new Happening(`${ms} ms pass`, (_model, { lab }) => lab.clock.advance(ms))),
  fc
    .constantFrom('build1', 'host1')
    .map(
      (name) =>
        new Happening(`${name} drops its connections`, async (_model, { lab }) =>
          lab.shell.host(name).dropConnections(),
        ),
    ),
  fc.constant(
    new Happening('the process is killed and started again', async (_model, real) => {
      await real.lab.crash();
      real.lab = await real.lab.reopen();
    }),
  ),
  fc.constant(
    new Happening('it is cancelled', async (model, { lab, id }) => {
      model.cancelled = true;
      await lab.pipelines.cancelPipeline(id);
    }),
  ),
];

it(
  'P7: whatever happens, build, deploy, boot and test come in this order, each after the one before has completed',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom('build', 'boot', 'test', undefined, undefined),
        fc.commands(happenings, { maxCommands: 12 }),
        async (broken, commands) => {
          const lab = await memoryLab({
            repositories,
            build: async ({ output, args, sleep }) => {
              await sleep(2_000);
              if (broken === 'build') return 2;
              output(args[7] ?? '', 'kernel');
              output('.config', '');
              return 0;
            },
            guest: async (guest) => {
              await guest.sleep(1_000);
              if (broken === 'boot') return guest.say('Kernel panic - not syncing: no init\r\n');
              guest.say('KTAP version 1\r\n1..1\r\n');
              await guest.sleep(1_000);
              guest.say(broken === 'test' ? 'not ok 1 a\r\n' : 'ok 1 a\r\n');
            },
          });
          await lab.addServer();
          await lab.addHost();
          const { id } = await lab.pipelines.createPipeline(kernelPipeline);
          const real: Real = { lab, id };
          const model: Model = { stages: [], cancelled: false };
          try {
            await fc.asyncModelRun(() => ({ model, real }), commands);
            const ended = await real.lab.clock.runUntil(real.lab.pipelines.waitForPipeline(id));
            check(model, ended);
            const { status } = ended;
            if (broken === undefined && !model.cancelled) assert.equal(status, 'completed');
            else if (!model.cancelled) {
              assert.equal(ended.stages.find((stage) => stage.name === broken)?.status, 'failed');
              assert.equal(status, 'failed');
            }
            await expectNothingHeld(real.lab);
          } finally {
            await real.lab[Symbol.asyncDispose]();
          }
        },
      ),
      { numRuns: 100 },
    ),
  120_000,
);
