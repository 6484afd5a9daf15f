import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lab, Pipeline, PipelineRequest, StageName, TransferReport } from '@bringup/core';
import { expectNothingLeft, outputOf, stagesOf, textOf } from '../fixtures/looking.ts';
import {
  openLab,
  registerMachines,
  startLocalMachines,
  startRemoteMachines,
  type Machines,
} from '../fixtures/machines.ts';
import { linuxPipeline, steppedBuild, tcg } from '../fixtures/sources.ts';

const kinds = [
  ['over SSH and libvirt', startRemoteMachines],
  ['on this machine', startLocalMachines],
] as const;

describe.each(kinds)('A cancelled pipeline, %s, leaves nothing', (_name, start) => {
  let machines: Machines;
  let lab: Lab;
  let onTransfer: (report: TransferReport) => void = () => undefined;
  beforeAll(async () => {
    machines = await start();
    lab = await openLab(machines.settings, { onTransfer: (report) => onTransfer(report) });
    await registerMachines(lab, machines);
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  async function cancelled(id: string): Promise<Pipeline> {
    await lab.pipelines.cancelPipeline(id);
    const pipeline = await lab.pipelines.waitForPipeline(id);
    expect(pipeline).toMatchObject({ status: 'cancelled', error: { code: 'aborted' } });
    await expectNothingLeft(lab, machines);
    expect(await machines.vms()).toEqual([]);
    return pipeline;
  }

  /** Starts a pipeline and waits until a stage's log has this many bytes. */
  async function begun(request: PipelineRequest, stage: StageName, bytes: number): Promise<string> {
    const { id } = await lab.pipelines.createPipeline(request);
    let seen = 0;
    for await (const chunk of lab.pipelines.getStageLogs(id, stage, { follow: true })) {
      seen += chunk.byteLength;
      if (seen >= bytes) return id;
    }
    throw new Error(
      `the stage ${stage} ended after ${seen} bytes: ${(await lab.pipelines.getPipelineStatus(id)).errorMessage}`,
    );
  }

  test('when it was building; the log up to then is kept', async () => {
    const build = await steppedBuild(machines.folder, { gate: true });
    const pipeline = await cancelled(await begun(build.pipeline, 'build', build.bytesAtGate));
    expect(stagesOf(pipeline)).toBe('cancelled skipped skipped skipped');
    const artifacts = await lab.artifacts.getArtifactsByBuild(outputOf(pipeline, 'build'));
    expect(artifacts.map(({ artifactType }) => artifactType)).toEqual(['build_log']);
    const log = await textOf(lab.pipelines.getStageLogs(pipeline.id, 'build'));
    expect(log.slice(0, build.bytesAtGate)).toBe(build.log.slice(0, build.bytesAtGate));
  });

  test.each(['download', 'upload'] as const)('when files were on their way (%s)', async (direction) => {
    const build = await steppedBuild(machines.folder, { gate: false });
    const travelling = Promise.withResolvers<void>();
    onTransfer = (report) => {
      if (report.direction === direction && report.transferredBytes < report.totalBytes) travelling.resolve();
    };
    const { id } = await lab.pipelines.createPipeline(build.pipeline);
    await travelling.promise;
    const pipeline = await cancelled(id);
    expect(stagesOf(pipeline)).toBe(
      direction === 'download' ? 'cancelled skipped skipped skipped' : 'completed cancelled skipped skipped',
    );
  });

  test('when it was booting; what the console said is kept', async () => {
    const request = await linuxPipeline(lab, machines.folder, 'sleeps', {
      environmentConfig: { vm: tcg, boot: { successPatterns: ['boot complete'] } },
    });
    const pipeline = await cancelled(await begun(request, 'boot', 1));
    expect(stagesOf(pipeline)).toBe('completed completed cancelled skipped');
    const [log] = await lab.artifacts.getArtifactsByProducer(outputOf(pipeline, 'boot'));
    expect(log?.artifactType).toBe('boot_log');
  });

  test('when it was testing', async () => {
    const commands = [{ name: 'takes for ever', argv: ['sh', '-c', 'echo here; exec sleep 100000'] }];
    const request = await linuxPipeline(lab, machines.folder, 'shell', { tests: { from: 'console-shell', commands } });
    const pipeline = await cancelled(await begun(request, 'test', 1));
    expect(stagesOf(pipeline)).toBe('completed completed completed cancelled');
  });
});
