import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { Lab, WorkEvent } from '@bringup/core';
import { stagesOf, textOf } from '../fixtures/looking.ts';
import type { Scene } from './scene.ts';

/** A pipeline that has ended, and the file in which its build says each time that it runs. */
export interface Done {
  readonly id: string;
  readonly marks: string;
}

const endings: readonly string[] = ['succeeded', 'failed', 'cancelled'];

/** Looks for whatever was lost, done twice or left behind. */
export async function faultsIn(given: {
  readonly lab: Lab;
  readonly scene: Scene;
  readonly done: readonly Done[];
  /** When the last reservation must have ended; ms since the epoch. */
  readonly freeBy: number;
}): Promise<{ readonly violations: readonly string[]; readonly takeovers: number }> {
  const { lab, scene, done, freeBy } = given;
  const violations: string[] = [];
  while ((await lab.reservations.list()).length > 0 && Date.now() < freeBy) await pause(200);
  for (const { id, resourceId, holder } of await lab.reservations.list()) {
    violations.push(`reservation ${id} of ${resourceId} is still held by ${holder}`);
  }
  for (const { id, marks } of done) {
    const faults = await pipelineFaults(lab, scene, id);
    const runs = await readFile(marks, 'utf8').catch(() => '');
    if (runs !== 'ran\n') faults.push(`its build ran ${runs.split('\n').length - 1} times`);
    violations.push(...faults.map((fault) => `pipeline ${id}: ${fault}`));
  }
  const ended = new Map<string, string>();
  let takeovers = 0;
  for await (const { name, data, seq } of lab.events.read()) {
    const verb = name.split(':')[1] ?? '';
    if (verb === 'recovered') takeovers += 1;
    if (!endings.includes(verb)) continue;
    const { id } = data as WorkEvent;
    const before = ended.get(`${name.split(':')[0]} ${id}`);
    if (before !== undefined) violations.push(`event ${seq}: ${name} of ${id} after ${before}`);
    ended.set(`${name.split(':')[0]} ${id}`, name);
  }
  let left = await scene.leftovers(lab);
  for (; left.length > 0 && Date.now() < freeBy + 10_000; left = await scene.leftovers(lab)) await pause(200);
  violations.push(...left.map((what) => `left behind: ${what}`));
  return { violations, takeovers };
}

async function pipelineFaults(lab: Lab, { buildLog, faultsOf }: Scene, id: string): Promise<string[]> {
  const pipeline = await lab.pipelines.getPipelineStatus(id);
  const stages = stagesOf(pipeline);
  if (stages !== 'completed completed completed completed') {
    return [`its stages are ${stages}: ${pipeline.errorMessage ?? ''}`];
  }
  const built = await textOf(lab.pipelines.getStageLogs(id, 'build'));
  const faults = [...(await faultsOf(lab, id))];
  if (built !== buildLog)
    faults.push(`its build's log has ${built.length} bytes instead of the ${buildLog.length} that were said`);
  return faults;
}
