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
  /** Whether bytes were moved on behalf of a stage. */
  readonly hasMovedBytes: (workId: string) => boolean;
  readonly signal: AbortSignal;
}

const stages: readonly { readonly name: StageName; readonly title: string; readonly log?: 'build' | 'console' }[] = [
  { name: 'build', title: 'Build', log: 'build' },
  { name: 'deploy', title: 'Deploy' },
  { name: 'boot', title: 'Boot', log: 'console' },
  { name: 'test', title: 'Test', log: 'console' },
];

/** Lines of a log that are shown again when a run goes on. */
const tailLines = 40;

/** Shows a pipeline stage by stage as it happens, to its end. @throws `aborted`. */
export async function watchPipeline(options: WatchOptions): Promise<Pipeline> {
  const { lab, id, terminal, signal } = options;
  // Boot and test share one console, and the boot may end in the middle of a line.
  const logs = { build: new LogView('build'), console: new LogView('console') };
  for (const [index, { name, title, log }] of stages.entries()) {
    const begun = await stageWhen(options, name, ({ status }) => status !== 'pending');
    if (begun.status === 'skipped') break;
    const overBefore = options.resumed && begun.status === 'completed';
    terminal.heading(`${title} ${terminal.style(`(${index + 1} of ${stages.length})`, 'dim')}`);
    if (log !== undefined) await showLog(options, name, logs[log], overBefore);
    const ended = await stageWhen(options, name, ({ completedAt }) => completedAt !== undefined);
    if (name === 'boot' && !overBefore) await showDecidingLine(options, logs.console);
    await tellEnd(options, ended, overBefore);
  }
  for (const { text } of logs.console.lines.end()) terminal.log('console', text);
  return lab.pipelines.waitForPipeline(id, { signal });
}

/** A log on its way to the terminal. */
class LogView {
  readonly source: string;
  readonly lines = new LineSplitter();
  /** An unfinished line that was shown already. */
  shown: string | undefined;

  constructor(source: string) {
    this.source = source;
  }
}

/** The stage once it is as wanted, or once the pipeline is over. */
async function stageWhen(
  { lab, id, signal }: WatchOptions,
  name: StageName,
  wanted: (stage: PipelineStage) => boolean,
): Promise<PipelineStage> {
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

/** @param hidden - only read it, for the sake of its unfinished last line. */
async function showLog(
  { lab, id, terminal, resumed, signal }: WatchOptions,
  stage: StageName,
  view: LogView,
  hidden: boolean,
): Promise<void> {
  const show = (text: string): void => {
    if (text !== view.shown) terminal.log(view.source, text, highlight(text));
    view.shown = undefined;
  };
  let offset = 0;
  if (resumed) {
    const before: string[] = [];
    for await (const chunk of lab.pipelines.getStageLogs(id, stage, { signal })) {
      offset += chunk.byteLength;
      for (const { text } of view.lines.feed(chunk)) before.push(text);
    }
    if (hidden) return;
    if (before.length > tailLines) terminal.line(`  … ${before.length - tailLines} lines before`);
    before.slice(-tailLines).forEach(show);
  }
  for await (const chunk of lab.pipelines.getStageLogs(id, stage, { offset, follow: true, signal })) {
    for (const { text } of view.lines.feed(chunk)) show(text);
  }
}

/** A boot is over with the text that decides it; when its line goes on in the next stage, shows it here. */
async function showDecidingLine({ lab, id, terminal }: WatchOptions, view: LogView): Promise<void> {
  const { stages: all } = await lab.pipelines.getPipelineStatus(id);
  const { outputId = '' } = all.find(({ name }) => name === 'deploy') ?? {};
  const { boot } = await lab.deployments.getDeploymentStatus(outputId);
  const unfinished = view.lines.partial?.text;
  if (unfinished === undefined || boot?.excerpt[0] !== unfinished) return;
  terminal.log(view.source, unfinished);
  view.shown = unfinished;
}

/** Errors of compilers and make, and results that are not ok, catch the eye. */
function highlight(text: string): 'red' | 'dim' {
  return /\berror: |^make.*\*\*\* |^\s*not ok \d/.test(text) ? 'red' : 'dim';
}

async function tellEnd(options: WatchOptions, stage: PipelineStage, overBefore: boolean): Promise<void> {
  const { terminal } = options;
  const took = stage.durationSeconds === undefined ? '' : ` in ${formatDuration(stage.durationSeconds * 1000)}`;
  if (stage.status === 'completed') {
    terminal.success(
      `${await achievement(options, stage, overBefore)}${took}${overBefore ? ', before the interruption' : ''}`,
    );
  } else if (stage.status === 'failed') {
    terminal.failure(`${stage.name} failed${took}`);
  }
}

async function achievement(
  { lab, hasMovedBytes }: WatchOptions,
  { name, outputId = '' }: PipelineStage,
  overBefore: boolean,
): Promise<string> {
  switch (name) {
    case 'build': {
      const { commitHash = '', artifacts } = await lab.builds.getBuildStatus(outputId);
      const made = artifacts.filter(({ artifactType }) => artifactType !== 'build_log').map(({ filename }) => filename);
      return `built ${made.join(', ')} from ${commitHash.replace(/^((?:tree-)?.{12}).*/, '$1')}`;
    }
    case 'deploy': {
      const { vmName = '' } = await lab.deployments.getDeploymentStatus(outputId);
      return `deployed to VM ${vmName}${overBefore || hasMovedBytes(outputId) ? '' : ', whose files were there already,'}`;
    }
    case 'boot':
      return 'booted';
    case 'test': {
      const totals = (await lab.testRuns.getTestRun(outputId)).results?.totals;
      return `${totals?.pass ?? 0} of ${totals?.total ?? 0} tests passed`;
    }
  }
}
