// Takes a source tree through build, deploy, boot and test on this machine, and shows it all. What
// follows uses nothing but the public API of @bringup/core.
import { constants } from 'node:os';
import { isBringupError } from '@bringup/core';
import { openLab } from './lab.ts';
import { parseOptions, usage, type QuickstartOptions } from './options.ts';
import { makePlan, startPipeline, type Plan } from './plan.ts';
import { reportPipeline } from './report.ts';
import { bspRequirements, ensureRequirements, kernelRequirements, kernelSourceRequirements } from './requirements.ts';
import { findInterrupted, stopPipeline } from './resume.ts';
import { holdFolder } from './state-folder.ts';
import { stopOnSignals, type Stop } from './stop.ts';
import { Terminal } from './terminal.ts';
import { formatBytes } from './text.ts';
import { watchPipeline } from './watch.ts';
import type { Lab, Pipeline, TransferReport } from '@bringup/core';

const terminal = new Terminal(process.stdout);

/** Runs the program and gives its exit status. */
async function main(): Promise<number> {
  // npm runs scripts in the folder of the package and tells where the user was.
  const parsed = parseOptions(process.argv.slice(2), process.env['INIT_CWD'] ?? process.cwd());
  if (parsed.type === 'help') {
    process.stdout.write(usage);
    return 0;
  }
  if (parsed.type === 'mistake') {
    process.stderr.write(`${parsed.message}\n\n${usage}`);
    return 2;
  }
  const stop = stopOnSignals(() => terminal.line('\nStopping; a second Ctrl-C leaves at once.'));
  try {
    return await run(parsed.options, stop);
  } catch (error) {
    if (!stop.signal.aborted) {
      terminal.failure(error instanceof Error ? error.message : String(error));
      if (!isBringupError(error) && error instanceof TypeError) throw error;
      return 1;
    }
  } finally {
    terminal.endProgress();
  }
  return 128 + constants.signals[stop.received ?? 'SIGTERM'];
}

async function run(options: QuickstartOptions, stop: Stop): Promise<number> {
  const { signal } = stop;
  const say = (text: string): void => terminal.line(text);
  const needed = [
    ...bspRequirements,
    ...(options.what === 'linux' ? kernelRequirements : []),
    ...(options.what === 'linux' && options.source === undefined ? kernelSourceRequirements : []),
  ];
  const onLine = (line: string): void => terminal.log('apt-get', line);
  if (!(await ensureRequirements(needed, { say, onLine, signal }))) return 1;
  using folder = await holdFolder(options.state);
  const plan = await makePlan(options, { say, signal });
  signal.throwIfAborted();
  await using lab = await openLab(options.state, { onTransfer: showTransfer, onWarning: say, signal });
  const found = await findInterrupted(lab, plan, { terminal, lastSeen: folder.lastSeen, signal });
  let pipeline = found === undefined ? undefined : await watchToEnd(lab, found, true, stop);
  if (pipeline?.status === 'cancelled') {
    terminal.line('It had been cancelled before it was interrupted, and is put away now. Starting anew.');
    pipeline = undefined;
  }
  pipeline ??= await watchToEnd(lab, await start(lab, plan, signal), false, stop);
  await reportPipeline(lab, pipeline, terminal, options.state);
  return pipeline.status === 'completed' ? 0 : 1;
}

async function start(lab: Lab, plan: Plan, signal: AbortSignal): Promise<Pipeline> {
  terminal.line(`Taking ${plan.title} through build, deploy, boot and test on this machine.`);
  const pipeline = await startPipeline(lab, plan, signal);
  terminal.line(`Pipeline ${pipeline.id}`);
  return pipeline;
}

/** Shows a pipeline to its end. When the program is to stop, so is the pipeline, and nothing of it stays. */
async function watchToEnd(lab: Lab, { id }: Pipeline, resumed: boolean, { signal }: Stop): Promise<Pipeline> {
  try {
    return await watchPipeline({ lab, id, terminal, resumed, hasMovedBytes: (workId) => moved.has(workId), signal });
  } catch (error) {
    if (signal.aborted) await putAway(lab, id);
    throw error;
  }
}

async function putAway(lab: Lab, id: string): Promise<void> {
  try {
    await stopPipeline(lab, id);
    terminal.success('Stopped: the VM, the processes and the reservations are gone.');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    terminal.failure(`Not everything could be put away (${why}). Start the quickstart again, and it tries once more.`);
  }
}

/** Work that has moved bytes, and its files that are over: their last report may come twice. */
const moved = new Map<string, Set<string>>();

function showTransfer({ workId, direction, filename, transferredBytes, totalBytes }: TransferReport): void {
  const done = moved.get(workId) ?? new Set();
  moved.set(workId, done);
  if (done.has(filename)) return;
  if (transferredBytes === totalBytes) done.add(filename);
  const label = direction === 'download' ? 'collect' : 'deploy';
  terminal.progress(
    label,
    totalBytes === 0 ? 1 : transferredBytes / totalBytes,
    `${formatBytes(transferredBytes)}  ${filename}`,
  );
}

process.exitCode = await main();
