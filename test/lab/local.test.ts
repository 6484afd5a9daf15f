import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lab, Pipeline, TransferReport } from '@bringup/core';
import { expectNothingLeft, outputOf, runPipeline, stagesOf, textOf } from '../fixtures/looking.ts';
import { openLab, registerMachines, startLocalMachines, type Machines } from '../fixtures/machines.ts';
import { bspPipeline, bspRepository } from '../fixtures/sources.ts';

const run = promisify(execFile);

describe('The example BSP on this machine, with core alone,', () => {
  let machines: Machines;
  let lab: Lab;
  let pipeline: Pipeline;
  const uploads: TransferReport[] = [];
  beforeAll(async () => {
    machines = await startLocalMachines();
    lab = await openLab(machines.settings, {
      onTransfer: (report) => void (report.direction === 'upload' && uploads.push(report)),
    });
    await registerMachines(lab, machines);
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  test('is built from its commit, deployed, booted and tested', async () => {
    const source = await bspRepository(machines.folder);
    pipeline = await runPipeline(lab, bspPipeline(source));
    expect(pipeline.error).toBeUndefined();
    expect(stagesOf(pipeline)).toBe('completed completed completed completed');
    expect(pipeline.commitHash).toBe(source.commitHash);
    expect(await textOf(lab.pipelines.getStageLogs(pipeline.id, 'boot'))).toContain(
      `(${source.commitHash.slice(0, 12)})`,
    );
    const { results } = await lab.testRuns.getTestRun(outputOf(pipeline, 'test'));
    expect(results?.totals).toMatchObject({ pass: 29, fail: 0, total: 29 });
    await expectNothingLeft(lab, machines);
  });

  test('leaves its files where a person finds them, with the hashes on record', async () => {
    const artifacts = await lab.artifacts.getArtifactsByBuild(outputOf(pipeline, 'build'));
    for (const { path, checksumSha256 } of artifacts) {
      expect((await run('sha256sum', [path ?? ''])).stdout.split(' ')[0]).toBe(checksumSha256);
    }
    expect(artifacts.map(({ filename }) => filename)).toEqual(['bringup-bsp.elf', 'build.log']);
  });

  test('is not transferred again when it is deployed once more', async () => {
    expect(uploads.length).toBeGreaterThan(0);
    uploads.length = 0;
    const again = await lab.pipelines.waitForPipeline(
      (await lab.pipelines.retryPipelineStage(pipeline.id, 'deploy')).id,
    );
    expect(again.status).toBe('completed');
    expect(uploads).toEqual([]);
    await expectNothingLeft(lab, machines);
  });
});
