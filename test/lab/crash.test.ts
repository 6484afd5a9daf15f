import { access, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lab, PipelineRequest } from '@bringup/core';
import type { DeathPoint } from '../fixtures/controller.ts';
import { expectNothingLeft, outputOf, stagesOf, textOf } from '../fixtures/looking.ts';
import { openLab, registerMachines, startRemoteMachines, type Machines } from '../fixtures/machines.ts';
import { runController } from '../fixtures/run-controller.ts';
import { linuxPipeline, steppedBuild, type SteppedBuild } from '../fixtures/sources.ts';

// Those whose machine is their own are killed by `pnpm chaos`, at any point.
describe('A controller that is killed, over SSH and libvirt,', () => {
  let machines: Machines;
  /** Looks, and lets the controllers do the work. */
  let lab: Lab;
  beforeAll(async () => {
    machines = await startRemoteMachines();
    lab = await openLab(machines.settings, { roles: [] });
    await registerMachines(lab, machines);
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  /** Lets a controller die with a new pipeline in its hands. */
  async function die(pipeline: PipelineRequest, death: DeathPoint): Promise<string> {
    const end = await runController({ settings: machines.settings, pipeline, death });
    expect(end, end.complaints).toMatchObject({ signal: 'SIGKILL', exitCode: null });
    expect((await lab.pipelines.getPipelineStatus(end.pipelineId)).status).toBe('running');
    return end.pipelineId;
  }

  /** Another controller sees the pipeline through. */
  async function resume(pipeline: string): Promise<void> {
    const end = await runController({ settings: machines.settings, pipeline });
    const { errorMessage = '' } = await lab.pipelines.getPipelineStatus(pipeline);
    expect({ ...end, errorMessage }).toMatchObject({
      status: 'completed',
      exitCode: 0,
      complaints: '',
      errorMessage: '',
    });
  }

  /** The pipeline went well, and everything was done and written once. */
  async function expectDoneOnce(id: string, build: SteppedBuild): Promise<void> {
    expect(await readFile(build.runs, 'utf8')).toBe('ran\n');
    expect(await textOf(lab.pipelines.getStageLogs(id, 'build'))).toBe(build.log);
    const pipeline = await lab.pipelines.getPipelineStatus(id);
    const artifacts = await lab.artifacts.getArtifactsByBuild(outputOf(pipeline, 'build'));
    expect(artifacts.map(({ filename }) => filename)).toEqual(['bringup-bsp.elf', 'build.log', 'disk.img']);
    for (const artifact of artifacts) expect(await lab.artifacts.verifyArtifactIntegrity(artifact.id)).toBe(true);
    await expectConsoleOnce(id, 8);
    await expectNothingLeft(lab, machines);
  }

  /** The console has each suite's result once, in order, over the logs of boot and test. */
  async function expectConsoleOnce(id: string, suites: number): Promise<void> {
    const pipeline = await lab.pipelines.getPipelineStatus(id);
    expect(stagesOf(pipeline)).toBe('completed completed completed completed');
    const console =
      (await textOf(lab.pipelines.getStageLogs(id, 'boot'))) + (await textOf(lab.pipelines.getStageLogs(id, 'test')));
    const results = [...console.matchAll(/^ok (\d+) /gm)].map(([, number]) => Number(number));
    expect(results).toEqual(Array.from({ length: suites }, (_, index) => index + 1));
    expect(console.match(/^KTAP version 1/gm)).toHaveLength(1);
    const { results: report } = await lab.testRuns.getTestRun(outputOf(pipeline, 'test'));
    expect(report?.totals.fail).toBe(0);
  }

  test('leaves a build running, whose log and artifacts the next controller takes up', async () => {
    const build = await steppedBuild(machines.folder, { gate: true });
    const id = await die(build.pipeline, { at: 'log', stage: 'build', bytes: build.bytesAtGate / 2 });
    // Nobody is there but the build server: it goes on to its end alone.
    await build.openGate();
    await expect.poll(() => access(build.finished).then(() => 'finished'), { timeout: 60_000 }).toBe('finished');
    await resume(id);
    await expectDoneOnce(id, build);
  });

  test('is replaced while the build still runs', async () => {
    const build = await steppedBuild(machines.folder, { gate: true });
    const id = await die(build.pipeline, { at: 'log', stage: 'build', bytes: build.bytesAtGate });
    const resumed = resume(id);
    await expect
      .poll(async () => (await textOf(lab.pipelines.getStageLogs(id, 'build'))).length)
      .toBe(build.bytesAtGate);
    await build.openGate();
    await resumed;
    await expectDoneOnce(id, build);
  });

  test('loses nothing while outputs travel from the build server', async () => {
    const build = await steppedBuild(machines.folder, { gate: false });
    const id = await die(build.pipeline, { at: 'transfer', direction: 'download' });
    await resume(id);
    await expectDoneOnce(id, build);
  });

  test('loses nothing while files travel to the host', async () => {
    const build = await steppedBuild(machines.folder, { gate: false });
    const id = await die(build.pipeline, { at: 'transfer', direction: 'upload' });
    await resume(id);
    await expectDoneOnce(id, build);
  });

  test('loses nothing of a VM that boots and of what it says meanwhile', async () => {
    const id = await die(await linuxPipeline(lab, machines.folder, 'suite'), { at: 'log', stage: 'boot', bytes: 1 });
    await resume(id);
    expect(await textOf(lab.pipelines.getStageLogs(id, 'boot'))).toMatch(/^\[ +0\.000000\] Linux version/);
    await expectConsoleOnce(id, 4);
    await expectNothingLeft(lab, machines);
  });

  test('loses no test result', async () => {
    for (;;) {
      const build = await steppedBuild(machines.folder, { gate: false });
      const death = { at: 'log', stage: 'test', bytes: 1 } as const;
      const end = await runController({ settings: machines.settings, pipeline: build.pipeline, death });
      // A guest that has said all of it at once may be done before the controller is dead.
      if (end.status === 'completed') continue;
      expect(end, end.complaints).toMatchObject({ signal: 'SIGKILL' });
      await resume(end.pipelineId);
      await expectDoneOnce(end.pipelineId, build);
      return;
    }
  });
});
