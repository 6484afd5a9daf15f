import {
  LineSplitter,
  isBringupError,
  parseTap,
  toJUnitXml,
  type ErrorCode,
  type Lab,
  type Pipeline,
  type PipelineRequest,
  type StageName,
} from '@bringup/core';
import type { CiLog } from './ci-log.ts';

/** Exit statuses: CI systems tell by them whether the change is bad or the lab is, which is worth another try. */
export const exitStatus = { passed: 0, changeIsBad: 1, labIsBad: 3 } as const;

/** What a change can be blamed for; all else is the lab's fault. */
const faultsOfTheChange: readonly ErrorCode[] = [
  'commit-not-found',
  'build-failed',
  'output-missing',
  'boot-failed',
  'boot-timeout',
  'tests-failed',
  'tests-incomplete',
];

/** How long a cancelled pipeline may take to put everything back. */
const putBackMs = 60_000;

/**
 * Runs the pipeline of this job, shown in the runner's log. A pipeline of the same name that an
 * earlier, killed run of the job has left is gone on with. When `signal` aborts, the pipeline is
 * cancelled, and this resolves once its processes, its VM and its reservations are gone.
 */
export async function runJob(lab: Lab, request: PipelineRequest, log: CiLog, signal: AbortSignal): Promise<Pipeline> {
  const unfinished = (await lab.pipelines.getPipelineHistory()).find(
    ({ name, completedAt }) => name === request.name && completedAt === undefined,
  );
  if (unfinished !== undefined) {
    log.text(`Going on with pipeline ${unfinished.id}, which a killed run of this job has left.`);
    const resumed = await follow(lab, unfinished.id, log, signal);
    // The kill may have come while it was being cancelled: that is no verdict on the change.
    if (resumed.status !== 'cancelled' || signal.aborted) return resumed;
  }
  return follow(lab, (await lab.pipelines.createPipeline(request)).id, log, signal);
}

async function follow(lab: Lab, id: string, log: CiLog, signal: AbortSignal): Promise<Pipeline> {
  try {
    for (const stage of ['build', 'boot', 'test'] as const) await showStage(lab, id, stage, log, signal);
    return await lab.pipelines.waitForPipeline(id, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    log.error('The job is being cancelled.');
    await lab.pipelines.cancelPipeline(id);
    return await lab.pipelines.waitForPipeline(id, { timeoutMs: putBackMs });
  }
}

/** Shows what a stage prints; one that prints nothing gets no section. */
async function showStage(lab: Lab, id: string, stage: StageName, log: CiLog, signal: AbortSignal): Promise<void> {
  const lines = new LineSplitter();
  let isOpen = false;
  try {
    for await (const chunk of lab.pipelines.getStageLogs(id, stage, { follow: true, signal })) {
      if (!isOpen) log.open(stage);
      isOpen = true;
      for (const { text } of lines.feed(chunk)) log.text(text);
    }
  } finally {
    for (const { text } of lines.end()) log.text(text);
    if (isOpen) log.close();
  }
}

/** What the runner is told with the exit status. */
export function statusOf({ status, error }: Pipeline): number {
  if (status === 'completed') return exitStatus.passed;
  return error !== undefined && faultsOfTheChange.includes(error.code) ? exitStatus.changeIsBad : exitStatus.labIsBad;
}

/** The results for the runner's test view: those of the tests, or of the stages when no test has run. */
export async function junitOf(lab: Lab, pipeline: Pipeline): Promise<string> {
  const name = pipeline.name ?? 'bringup';
  const { outputId } = pipeline.stages.find((stage) => stage.name === 'test') ?? {};
  const results = outputId === undefined ? undefined : (await lab.testRuns.getTestRun(outputId)).results;
  return toJUnitXml(results ?? parseTap(stagesAsTap(pipeline)), { name });
}

function stagesAsTap({ stages }: Pipeline): string {
  const lines = stages.map(({ name, status, errorMessage = '' }, index) => {
    const test = `${index + 1} ${name}`;
    if (status === 'skipped' || status === 'pending') return `ok ${test} # SKIP not reached`;
    const why = errorMessage.split('\n').map((line) => `\n# ${line}`);
    return status === 'completed' ? `ok ${test}` : `not ok ${test}${why.join('')}`;
  });
  return `TAP version 13\n1..${stages.length}\n${lines.join('\n')}\n`;
}

/** What went wrong, with the lines that say why. */
export function explain({ error, errorMessage = 'the pipeline was cancelled' }: Pipeline): string {
  const { errorLines, excerpt } = error?.details ?? {};
  return [errorMessage, ...[errorLines, excerpt].flat().filter((line) => typeof line === 'string')].join('\n');
}

/** The message of anything thrown, with its code when it is the SDK's. */
export function tell(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return isBringupError(error) ? `${message} (${error.code})` : message;
}
