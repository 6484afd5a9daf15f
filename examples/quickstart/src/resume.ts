import type { Lab, Pipeline } from '@bringup/core';
import type { Plan } from './plan.ts';
import type { Terminal } from './terminal.ts';
import { formatDuration } from './text.ts';

/** How long a cancelled pipeline may take to put everything away. */
const stopTimeoutMs = 90_000;

/**
 * Looks for pipelines that a killed run left unfinished. One that does what the plan says is gone on
 * with; others are cancelled, since nobody waits for them any more.
 */
export async function findInterrupted(
  lab: Lab,
  plan: Plan,
  tell: { readonly terminal: Terminal; readonly lastSeen: number | undefined; readonly signal: AbortSignal },
): Promise<Pipeline | undefined> {
  const { terminal, lastSeen, signal } = tell;
  const unfinished = (await lab.pipelines.getPipelineHistory()).filter(
    (pipeline) => pipeline.completedAt === undefined,
  );
  const found = unfinished.find((pipeline) => pipeline.name === plan.name);
  for (const pipeline of unfinished) {
    if (pipeline === found) continue;
    terminal.line(`${describe(pipeline, lastSeen)}; but its source or options were others. Cancelling it.`);
    await stopPipeline(lab, pipeline.id, signal);
  }
  if (found !== undefined) terminal.line(`${describe(found, lastSeen)}; going on with it.`);
  return found;
}

/** Cancels a pipeline and waits until its VM, processes and reservations are gone. */
export async function stopPipeline(lab: Lab, id: string, signal?: AbortSignal): Promise<Pipeline> {
  await lab.pipelines.cancelPipeline(id);
  return lab.pipelines.waitForPipeline(id, { timeoutMs: stopTimeoutMs, ...(signal !== undefined && { signal }) });
}

/** Says which pipeline was found, and where and when it was interrupted. */
export function describe(
  pipeline: Pick<Pipeline, 'id' | 'currentStage'>,
  lastSeen: number | undefined,
  now: number = Date.now(),
): string {
  const where = pipeline.currentStage === undefined ? 'before its first stage' : `in stage ${pipeline.currentStage}`;
  const when = lastSeen === undefined ? '' : ` ${formatDuration(Math.max(0, now - lastSeen))} ago`;
  return `Found pipeline ${pipeline.id}, interrupted ${where}${when}`;
}
