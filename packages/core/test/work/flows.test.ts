import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BringupError, limits } from '@bringup/core';
import { fakeClock, seededRandom } from '@bringup/core/testing';
import type { FlowState, FlowStep, WorkFlow } from '../../src/work/flow.ts';
import { isFinal } from '../../src/model/work.ts';
import { handler, startEngine, untilStopped, type TestEngine } from '../support/engine.ts';

/** Builds, boots, and gives back what it had, however it went. */
class TwoSteps implements WorkFlow<unknown, string[]> {
  readonly kind = 'pipeline';

  next(state: FlowState<unknown>): FlowStep<string[]> {
    const done: string[] = [];
    for (const key of ['build', 'boot'] as const) {
      const child = state.children.get(key);
      if (child === undefined) return { start: { key, kind: key, input: { key }, phase: key } };
      if (!isFinal(child.state)) return 'wait';
      if (child.error !== undefined) throw new BringupError('boot-failed', `${key}: ${child.error.message}`);
      done.push(child.id);
    }
    return this.afterwards(state) ?? { output: done };
  }

  afterwards({
    children,
  }: FlowState<unknown>): 'wait' | { readonly start: { key: string; kind: 'release'; input: null } } | undefined {
    if (!children.has('boot')) return undefined;
    const release = children.get('release');
    if (release === undefined) return { start: { key: 'release', kind: 'release', input: null } };
    return isFinal(release.state) ? undefined : 'wait';
  }
}

const said: string[] = [];
const does = (kind: 'build' | 'boot' | 'release', act: (signal: AbortSignal) => unknown = () => undefined) =>
  handler(
    kind,
    async (context) => {
      said.push(kind);
      return await act(context.signal);
    },
    { uncancellable: kind === 'release' },
  );

async function eventsOf({ store }: TestEngine): Promise<string[]> {
  return (await store.db.selectFrom('events').select('name').orderBy('seq').execute()).map(({ name }) => name);
}

async function childrenOf({ engine }: TestEngine, id: string): Promise<string[]> {
  return (await engine.children(id)).map(({ childKey, item }) => `${childKey} ${item.state}`);
}

describe('a flow', () => {
  let folder = '';
  beforeEach(async () => {
    said.length = 0;
    folder = await mkdtemp(join(tmpdir(), 'bringup-flows-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function start(...handlers: ReturnType<typeof does>[]): Promise<TestEngine> {
    const t = await startEngine(handlers);
    t.engine.registerFlow(new TwoSteps());
    return t;
  }

  it('goes from child to child to its end, and tells so in order', async () => {
    await using t = await start(does('build'), does('boot'), does('release'));
    const id = await t.engine.submit('pipeline', {});
    const item = await t.clock.runUntil(t.engine.finished(id));
    expect(said).toEqual(['build', 'boot', 'release']);
    expect(item).toMatchObject({ state: 'succeeded', phase: 'boot' });
    expect(item.output).toEqual((await t.engine.children(id)).slice(0, 2).map(({ item: child }) => child.id));
    expect(await eventsOf(t)).toEqual([
      'pipeline:queued',
      'build:queued',
      'pipeline:phase',
      'pipeline:started',
      'build:started',
      'build:succeeded',
      'boot:queued',
      'pipeline:phase',
      'boot:started',
      'boot:succeeded',
      'release:queued',
      'release:started',
      'release:succeeded',
      'pipeline:succeeded',
    ]);
  });

  it('starts with the first of its children, not before', async () => {
    await using idle = await start();
    const id = await idle.engine.submit('pipeline', {});
    await idle.clock.advance(60_000);
    expect(await idle.engine.get(id)).not.toHaveProperty('startedAt');
    await using busy = await startEngine([does('build', untilStopped)], idle);
    await busy.clock.advance(limits.workPollMs);
    expect((await idle.engine.get(id)).startedAt).toBe(idle.clock.now() - limits.workPollMs);
  });

  it('fails with what fails in it, once things are in order', async () => {
    const fails = (): never => {
      throw new BringupError('boot-failed', 'no prompt');
    };
    await using t = await start(does('build'), does('boot', fails), does('release'));
    const id = await t.engine.submit('pipeline', {});
    const item = await t.clock.runUntil(t.engine.finished(id));
    expect(item).toMatchObject({ state: 'failed', error: { code: 'boot-failed', message: 'boot: no prompt' } });
    expect(await childrenOf(t, id)).toEqual(['build succeeded', 'boot failed', 'release succeeded']);
  });

  it.each([
    ['before anything has begun', [], ['build cancelled']],
    ['in its first step', [does('build', untilStopped)], ['build cancelled']],
    [
      'in its second step',
      [does('build'), does('boot', untilStopped), does('release')],
      ['build succeeded', 'boot cancelled', 'release succeeded'],
    ],
  ])('is cancelled %s, and puts in order what it has done', async (_when, handlers, children) => {
    await using t = await start(...handlers);
    const id = await t.engine.submit('pipeline', {});
    await t.clock.settle();
    await t.engine.cancel(id);
    const item = await t.clock.runUntil(t.engine.finished(id));
    expect(item).toMatchObject({ state: 'cancelled', error: { code: 'aborted' } });
    expect(await childrenOf(t, id)).toEqual(children);
  });

  it('is cancelled while it puts things in order, which goes on to its end', async () => {
    const released = Promise.withResolvers<void>();
    await using t = await start(
      does('build'),
      does('boot'),
      does('release', () => released.promise),
    );
    const id = await t.engine.submit('pipeline', {});
    await t.clock.settle();
    await t.engine.cancel(id);
    await t.clock.settle();
    expect((await t.engine.get(id)).state).toBe('waiting');
    released.resolve();
    const item = await t.clock.runUntil(t.engine.finished(id));
    expect(item.state).toBe('cancelled');
    expect(said).toEqual(['build', 'boot', 'release']);
  });

  it('ends at its deadline', async () => {
    await using t = await start(does('build', untilStopped));
    const id = await t.engine.submit('pipeline', {}, { timeoutMs: 60_000 });
    await t.clock.advance(59_000);
    expect((await t.engine.get(id)).state).toBe('waiting');
    const item = await t.clock.runUntil(t.engine.finished(id));
    expect(item).toMatchObject({ state: 'failed', error: { code: 'deadline-exceeded' } });
    expect(await childrenOf(t, id)).toEqual(['build failed']);
  });

  it('goes on in whichever process does its next step', async () => {
    const path = join(folder, 'lab.db');
    const clock = fakeClock();
    const [one, other] = await Promise.all(
      [does('build'), does('boot')].map((step, index) =>
        startEngine([step, ...(index === 0 ? [] : [does('release')])], { path, clock, random: seededRandom(index) }),
      ),
    );
    if (one === undefined || other === undefined) throw new Error('no engines');
    for (const { engine } of [one, other]) engine.registerFlow(new TwoSteps());
    const id = await one.engine.submit('pipeline', {});
    expect((await clock.runUntil(other.engine.finished(id))).state).toBe('succeeded');
    await one[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });
});

describe('work that a transaction makes ready', () => {
  it('is claimed in it, where there is room', async () => {
    await using t = await startEngine([does('build', untilStopped)]);
    const id = await t.engine.submit('build', {});
    expect((await t.engine.get(id)).state).toBe('running');
  });

  it('waits for room, which the end of other work makes, by priority', async () => {
    const go: (() => void)[] = [];
    await using t = await startEngine([
      does('build', (signal) => Promise.race([new Promise<void>((resolve) => go.push(resolve)), untilStopped(signal)])),
      does('boot', untilStopped),
    ]);
    for (let i = 0; i < limits.workConcurrency; i += 1) await t.engine.submit('build', {});
    const later = await t.engine.submit('boot', {});
    const sooner = await t.engine.submit('boot', {}, { priority: 1 });
    await t.clock.settle();
    const states = async (): Promise<string[]> =>
      Promise.all([later, sooner].map(async (id) => (await t.engine.get(id)).state));
    expect(await states()).toEqual(['queued', 'queued']);
    go.pop()?.();
    await t.clock.settle();
    expect(await states()).toEqual(['queued', 'running']);
  });

  it('does not overtake what was queued before the process came', async () => {
    await using idle = await startEngine([]);
    const older = await idle.engine.submit('build', {});
    await using t = await startEngine([does('build', untilStopped)], idle);
    const newer = await t.engine.submit('build', {});
    const begun = await idle.store.db
      .selectFrom('events')
      .select('subject')
      .where('name', '=', 'build:started')
      .orderBy('seq')
      .execute();
    expect(begun.map(({ subject }) => subject)).toEqual([older, newer]);
  });

  it('is not run when the transaction fails, and leaves its room to others', async () => {
    said.length = 0;
    await using t = await startEngine([does('build', untilStopped)]);
    const undone = t.engine.submit('build', {}, { prepare: () => Promise.reject(new Error('undone')) });
    await expect(undone).rejects.toThrow('undone');
    await t.clock.settle();
    expect(said).toEqual([]);
    const ids = await Promise.all(Array.from({ length: limits.workConcurrency }, () => t.engine.submit('build', {})));
    expect(await Promise.all(ids.map(async (id) => (await t.engine.get(id)).state))).toEqual(ids.map(() => 'running'));
  });

  it('is handed back when the process ends before it begins', async () => {
    await using idle = await startEngine([]);
    const t = await startEngine([does('build', untilStopped)], idle);
    const submission = t.engine.submit('build', {});
    await Promise.all([submission, t[Symbol.asyncDispose]()]);
    expect((await idle.engine.get(await submission)).state).toBe('queued');
  });
});
