import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lab } from '@bringup/core';
import { expectNothingLeft, textOf } from '../fixtures/looking.ts';
import { openLab, registerMachines, startRemoteMachines, type RemoteMachines } from '../fixtures/machines.ts';
import { steppedBuild } from '../fixtures/sources.ts';

describe('SSH connections that are killed', () => {
  let machines: RemoteMachines;
  let lab: Lab;
  beforeAll(async () => {
    machines = await startRemoteMachines();
    lab = await openLab(machines.settings);
    await registerMachines(lab, machines);
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  test('during a build cost it nothing and its log not a byte', async () => {
    const build = await steppedBuild(machines.folder, { gate: true });
    const { id } = await lab.pipelines.createPipeline(build.pipeline);
    const cut = async (): Promise<void> => {
      // After the first cut the controller pauses before it connects again.
      while ((await machines.sshd.connections()).length === 0) await setTimeout(20);
      await machines.sshd.dropConnections();
    };
    let seen = 0;
    let opened = false;
    for await (const chunk of lab.pipelines.getStageLogs(id, 'build', { follow: true })) {
      if (seen === 0) await cut();
      seen += chunk.byteLength;
      if (opened || seen < build.bytesAtGate) continue;
      opened = true;
      await cut();
      await build.openGate();
    }
    const pipeline = await lab.pipelines.waitForPipeline(id);
    expect(pipeline.error).toBeUndefined();
    expect(await textOf(lab.pipelines.getStageLogs(id, 'build'))).toBe(build.log);
    expect(await readFile(build.runs, 'utf8')).toBe('ran\n');
    await expectNothingLeft(lab, machines);
  });
});
