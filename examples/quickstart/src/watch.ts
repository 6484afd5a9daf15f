import { LineSplitter, type Lab, type Pipeline, type PipelineStage, type StageName } from '@bringup/core';
import type { Terminal } from './terminal.ts';
import { formatDuration } from './text.ts';

/** Options of {@link watchPipeline}. */
export interface WatchOptions {
  readonly lab: Lab;
  readonly id: string;
  readonly terminal: Terminal;
  /** The pipeline was found in the middle: what is over is told shortly. */
  readonly resumed: boolean;
  readonly signal: AbortSignal;
}

const stages: readonly { readonly name: StageName; readonly title: string; readonly source?: string }[] = [
  { name: 'build', title: 'Build', source: 'build' },
  { name: 'deploy', title: 'Deploy' },
  { name: 'boot', title: 'Boot', source: 'console' },
  { name: 'test', title: 'Test', source: 'console' },
];

/** Lines of a log that are shown again when a run goes on. */
const tailLines = 40;

/** Shows a pipeline stage by stage as it happens, to its end. @throws `aborted`. */
export async function watchPipeline(options: WatchOptions): Promise<Pipeline> {
  const { lab, id, terminal, signal } = options;
  // Boot and test share one console, and the boot may end in the middle of a line.
  const lines = { build: new LineSplitter(), console: new LineSplitter() };
  for (const [index, { name, title, source }] of stages.entries()) {
    const begun = await stageWhen(options, name, ({ status }) => status !== 'pending');
    if (begun.status === 'skipped') break;
    const overBefore = options.resumed && begun.status === 'completed';
    terminal.heading(`${title} ${terminal.style(`(${index + 1} of ${stages.length})`, 'dim')}`);
    if (source !== undefined) {
      await showLog(options, name, { source, splitter: source === 'build' ? lines.build : lines.console, hidden: overBefore });
    }
    const ended = await stageWhen(options, name, ({ completedAt }) => completedAt !== undefined);
    await tellEnd(options, ended, overBefore);
  }
  for (const { text } of lines.console.end()) terminal.log('console', text);
  return lab.pipelines.waitForPipeline(id, { signal });
}

/** The stage once it is as wanted, or once the pipeline is over. */
async function stageWhen({ lab, id, signal }: WatchOptions, name: StageName, wanted: (stage: PipelineStage) => boolean): Promise<PipelineStage> {
  const events = lab.events.read({ after: await lab.events.cursor(), follow: true, signal });
  for (;;) {
    const pipeline = await lab.pipelines.getPipelineStatus(id);
    const stage = pipeline.stages.find((one) => one.name === name);
    if (stage === undefined) throw new TypeError(`a pipeline has a stage ${name}`);
    if (wanted(stage) || pipeline.completedAt !== undefined) {
      await events.return();
      return stage;
    }
    await events.next();
  }
}

interface LogView {
  readonly source: string;
  readonly splitter: LineSplitter;
  /** It is only read, for the sake of its unfinished last line. */
  readonly hidden: boolean;
}

async function showLog({ lab, id, terminal, resumed, signal }: WatchOptions, stage: StageName, view: LogView): Promise<void> {
  const show = (chunk: Uint8Array): void => {
    for (const { text } of view.splitter.feed(chunk)) terminal.log(view.source, text, highlight(text));
  };
  let offset = 0;
  if (resumed) {
    const before: string[] = [];
    for await (const chunk of lab.pipelines.getStageLogs(id, stage, { signal })) {
      offset += chunk.byteLength;
      for (const { text } of view.splitter.feed(chunk)) before.push(text);
    }
    if (view.hidden) return;
    if (before.length > tailLines) terminal.line(`  … ${before.length - tailLines} lines before`);
    for (const text of before.slice(-tailLines)) terminal.log(view.source, text, highlight(text));
  }
  for await (const chunk of lab.pipelines.getStageLogs(id, stage, { offset, follow: true, signal })) show(chunk);
}

/** Errors of compilers and make, and results that are not ok, catch the eye. */
function highlight(text: string): 'red' | 'dim' {
  return /\berror: |^make.*\*\*\* |^\s*not ok \d/.test(text) ? 'red' : 'dim';
}

async function tellEnd({ lab, terminal }: WatchOptions, stage: PipelineStage, overBefore: boolean): Promise<void> {
  const took = stage.durationSeconds === undefined ? '' : ` in ${formatDuration(stage.durationSeconds * 1000)}`;
  if (stage.status === 'completed') {
    terminal.success(`${await achievement(lab, stage)}${took}${overBefore ? ', before the interruption' : ''}`);
  } else if (stage.status === 'failed') {
    terminal.failure(`${stage.name} failed${took}`);
  }
}

async function achievement(lab: Lab, { name, outputId = '' }: PipelineStage): Promise<string> {
  switch (name) {
    case 'build': {
      const { commitHash = '', artifacts } = await lab.builds.getBuildStatus(outputId);
      const made = artifacts.filter(({ artifactType }) => artifactType !== 'build_log').map(({ filename }) => filename);
      return `built ${made.join(', ')} from ${commitHash.replace(/^((?:tree-)?.{12}).*/, '$1')}`;
    }
    case 'deploy':
      return `deployed to VM ${(await lab.deployments.getDeploymentStatus(outputId)).vmName ?? ''}`;
    case 'boot':
      return 'booted';
    case 'test': {
      const totals = (await lab.testRuns.getTestRun(outputId)).results?.totals;
      return `${totals?.pass ?? 0} of ${totals?.total ?? 0} tests passed`;
    }
  }
}
