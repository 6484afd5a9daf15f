import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { beforeEach, describe, expect, it } from 'vitest';
import { BringupError, errorCodes, limits } from '@bringup/core';
import { fakeClock, memoryLab, type MemoryLab, type MemoryLabOptions } from '@bringup/core/testing';
import { instruments } from '../../src/telemetry/instruments.ts';
import { CallMeter } from '../../src/telemetry/measured.ts';
import { loadTelemetry } from '../../src/telemetry/telemetry.ts';
import { kernelPipeline, repositories } from '../support/requests.ts';
import { registerSdk } from './open-telemetry.ts';

const told = registerSdk();
beforeEach(() => told.reset());

async function labWith(options: MemoryLabOptions = {}): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, ...options });
  await lab.addServer();
  await lab.addHost();
  return lab;
}

async function runPipeline(lab: MemoryLab): Promise<string> {
  const { id } = await lab.pipelines.createPipeline(kernelPipeline);
  await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
  return id;
}

const named = (name: string): ReadableSpan[] => told.spans().filter((span) => span.name === name);
const idOf = (span: ReadableSpan): string => span.spanContext().spanId;
const stageRuns = ['run build', 'run deployment', 'run boot', 'run testrun'];

/** The first run of each kind; one that waited has more. */
function firstRun(name: string): ReadableSpan {
  const span = named(name).find(({ attributes }) => attributes['bringup.work.run'] === 1);
  if (span === undefined) throw new Error(`there is no span ${name}`);
  return span;
}

describe('a trace', () => {
  it('of a pipeline holds its stages and, once it has ended, the pipeline from its start', async () => {
    await using lab = await labWith();
    const id = await runPipeline(lab);
    const [submitted] = named('submit pipeline');
    const submission = submitted?.spanContext();
    expect(submitted?.attributes['bringup.work.id']).toBe(id);
    for (const name of [...stageRuns, 'run pipeline']) {
      const run = name === 'run pipeline' ? named(name)[0] : firstRun(name);
      expect(run?.spanContext().traceId, name).toBe(submission?.traceId);
      expect(run?.parentSpanContext?.spanId, name).toBe(submission?.spanId);
      expect(run?.kind).toBe(SpanKind.CONSUMER);
    }
    const [whole, ...more] = named('run pipeline');
    expect(more).toEqual([]);
    expect(whole?.attributes).toMatchObject({ 'bringup.work.id': id, 'bringup.work.outcome': 'succeeded' });
    expect(whole?.startTime).toEqual(firstRun('run build').startTime);
  });

  it('goes on in the process that takes the work over', async () => {
    await using lab = await labWith({ roles: ['builds'] });
    await lab.pipelines.createPipeline(kernelPipeline);
    await lab.clock.runUntil(once(lab, 'deployment:queued'));
    await using other = await lab.join({ name: 'other', roles: ['deployments'] });
    await lab.clock.runUntil(once(other, 'pipeline:succeeded'));
    expect(new Set(stageRuns.map((name) => firstRun(name).spanContext().traceId)).size).toBe(1);
  });

  it('begins where its caller is, and does not catch what the lab does all its life', async () => {
    const tracer = trace.getTracer('a program');
    const lab = await tracer.startActiveSpan('opening', async (span) => {
      const opened = await labWith({ roles: ['builds', 'health'] });
      span.end();
      return opened;
    });
    await using _lab = lab;
    told.reset();
    const caller = await tracer.startActiveSpan('asking', async (span) => {
      await lab.builds.submitBuild({
        sourceRepository: kernelPipeline.sourceRepository,
        branch: 'main',
        targetArchitecture: 'x86_64',
        buildConfig: { recipe: 'kernel' },
      });
      span.end();
      return span.spanContext().traceId;
    });
    await lab.clock.runUntil(once(lab, 'build:succeeded'));
    expect(firstRun('run build').spanContext().traceId).toBe(caller);
    await lab.clock.advance(2 * limits.healthIntervalMs);
    const looks = named('shell.exec').filter((span) => span.spanContext().traceId !== caller);
    expect(looks).not.toEqual([]);
    for (const look of looks) expect(look.parentSpanContext).toBeUndefined();
  });

  it('shows each call of a connector under the run that made it, with its target and no argument', async () => {
    await using lab = await labWith();
    await runPipeline(lab);
    const build = firstRun('run build');
    const calls = told.spans().filter((span) => span.kind === SpanKind.CLIENT);
    const ofBuild = calls.filter((span) => span.parentSpanContext?.spanId === idOf(build));
    expect(ofBuild.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['shell.connect', 'shell.exec', 'artifact_storage.put']),
    );
    // What is stored is fetched while it is stored.
    const put = named('artifact_storage.put')[0];
    expect(named('shell.download')[0]?.parentSpanContext?.spanId).toBe(put && idOf(put));
    expect(ofBuild.find(({ name }) => name === 'shell.exec')?.attributes).toEqual({
      'bringup.connector.type': 'shell',
      'bringup.connector.name': 'memory',
      'bringup.connector.operation': 'exec',
      'server.address': 'build1',
    });
    expect(calls.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['hypervisor.connect', 'hypervisor.createVm', 'hypervisor.openConsole', 'shell.upload']),
    );
  });

  it('marks what failed with the code of its error, and never with its words', async () => {
    await using lab = await labWith({ build: () => 2 });
    lab.hypervisor.failNext('createVm', new BringupError('hypervisor-failed', 'hunter2'));
    await runPipeline(lab);
    const run = named('run build').at(-1);
    expect(run?.status).toEqual({ code: SpanStatusCode.ERROR });
    expect(run?.attributes).toMatchObject({ 'bringup.work.outcome': 'failed', 'error.type': 'build-failed' });
  });

  it('has attributes of bounded length', async () => {
    const meter = new CallMeter(await loadTelemetry(), fakeClock());
    const connector = meter.connector('console', { name: 'serial', open: async (_target: { name: string }) => ({}) });
    await connector.open({ name: 'h'.repeat(limits.spanAttributeChars) });
    await connector.open({ name: 'i'.repeat(limits.spanAttributeChars + 1) });
    expect(named('console.open').map(({ attributes }) => attributes['server.address'])).toEqual([
      'h'.repeat(limits.spanAttributeChars),
      'i'.repeat(limits.spanAttributeChars),
    ]);
  });
});

describe('metrics', () => {
  it('tell of every work item how it ended, how long it took and how long it was queued', async () => {
    await using lab = await labWith();
    const before = await told.points('bringup.work.ended');
    await runPipeline(lab);
    const ended = await told.points('bringup.work.ended');
    const difference = (kind: string): number => {
      const of = (points: typeof ended): number =>
        points
          .filter(
            (p) => p.attributes['bringup.work.kind'] === kind && p.attributes['bringup.work.outcome'] === 'succeeded',
          )
          .reduce((sum, { value }) => sum + (value as number), 0);
      return of(ended) - of(before);
    };
    expect(['pipeline', 'build', 'deployment', 'boot', 'testrun', 'release'].map(difference)).toEqual([
      1, 1, 1, 1, 1, 1,
    ]);
    const stages = ['build', 'deployment', 'boot', 'testrun'];
    for (const [name, expected] of [
      ['bringup.work.duration', ['pipeline', ...stages]],
      // Nobody claims a pipeline: its first stage is what is queued.
      ['bringup.work.queue.duration', stages],
    ] as const) {
      const kinds = (await told.points(name)).map(({ attributes }) => attributes['bringup.work.kind']);
      expect(kinds, name).toEqual(expect.arrayContaining([...expected]));
    }
  });

  it('tell of every call how long it took, and with which error it failed', async () => {
    await using lab = await labWith();
    lab.hypervisor.failNext('getVm', new BringupError('connection-lost', 'injected', { retryable: true }));
    await runPipeline(lab);
    const calls = (await told.points('bringup.connector.call.duration')).map(({ attributes }) => attributes);
    expect(calls).toContainEqual({
      'bringup.connector.type': 'shell',
      'bringup.connector.name': 'memory',
      'bringup.connector.operation': 'exec',
    });
    expect(calls).toContainEqual({
      'bringup.connector.type': 'hypervisor',
      'bringup.connector.name': 'memory',
      'bringup.connector.operation': 'getVm',
      'error.type': 'connection-lost',
    });
  });

  it('show how the lab stands when they are collected', async () => {
    await using lab = await labWith({ roles: [] });
    await lab.addBoard();
    await lab.pipelines.createPipeline(kernelPipeline);
    await lab.clock.advance(60_000);
    const value = async (name: string, attributes: object): Promise<unknown> =>
      (await told.points(name)).find((point) => JSON.stringify(point.attributes) === JSON.stringify(attributes))?.value;
    const count = async (kind: string, state: string): Promise<unknown> =>
      value('bringup.work.count', { 'bringup.work.kind': kind, 'bringup.work.state': state });
    expect([await count('pipeline', 'waiting'), await count('build', 'queued')]).toEqual([1, 1]);
    expect(await value('bringup.work.queue.age', { 'bringup.work.kind': 'build' })).toBe(60);
    expect(
      await value('bringup.resource.count', {
        'bringup.resource.kind': 'board',
        'bringup.resource.status': 'available',
      }),
    ).toBe(1);
    expect(await value('bringup.lease.count', { 'bringup.lease.type': 'work_item' })).toBe(0);
    expect(await value('bringup.event.lag', {})).toBe(0);
    expect(await value('bringup.log.size', {})).toBe(0);
  });

  it('have the names, units, types and attributes that are documented, and few values', async () => {
    await using lab = await labWith();
    await runPipeline(lab);
    const byName = new Map(Object.values(instruments).map((instrument) => [instrument.name, instrument]));
    for (const { descriptor, dataPoints } of await told.metrics()) {
      const documented = byName.get(descriptor.name);
      expect(documented, descriptor.name).toMatchObject({ unit: descriptor.unit, description: descriptor.description });
      for (const { attributes } of dataPoints) {
        expect(documented?.attributes).toEqual(expect.arrayContaining(Object.keys(attributes)));
        const { 'error.type': code, ...words } = attributes;
        if (code !== undefined) expect(errorCodes).toContain(code);
        for (const word of Object.values(words)) expect(word).toMatch(/^[a-zA-Z_]+$/);
      }
    }
  });
});

/** Resolves when the event is told. */
async function once(lab: MemoryLab, name: string): Promise<void> {
  for await (const event of lab.events.read({ follow: true })) if (event.name === name) return;
}
