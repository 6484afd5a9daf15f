import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline as pump } from 'node:stream/promises';
import {
  countTests,
  hasBadOutcome,
  type Artifact,
  type JsonValue,
  type Lab,
  type Pipeline,
  type StoredError,
  type TestNode,
} from '@bringup/core';
import type { Terminal, TableRow } from './terminal.ts';
import { formatBytes, formatDuration, printable } from './text.ts';

/** Shows how a pipeline ended: results, what went wrong, where the files lie. */
export async function reportPipeline(lab: Lab, pipeline: Pipeline, terminal: Terminal, folder: string): Promise<void> {
  const testRunId = outputOf(pipeline, 'test');
  const results = testRunId === undefined ? undefined : (await lab.testRuns.getTestRun(testRunId)).results;
  if (results !== undefined && results.tests.length > 0) {
    terminal.heading('Results');
    terminal.table(['suite', 'passed', 'failed', 'skipped'], results.tests.flatMap(suiteRows));
  }
  if (pipeline.error !== undefined && pipeline.status === 'failed') tellError(pipeline.error, terminal);
  terminal.heading('Artifacts');
  const files = await exportArtifacts(lab, pipeline, join(folder, 'latest'));
  const width = Math.max(0, ...files.map(({ artifact }) => artifact.artifactType.length));
  for (const { artifact, path } of files) {
    terminal.line(
      `  ${artifact.artifactType.padEnd(width)}  ${formatBytes(artifact.sizeBytes).padStart(7)}  ${shortest(path)}`,
    );
  }
  terminal.line();
  const took = formatDuration((pipeline.completedAt ?? 0) - pipeline.createdAt);
  if (pipeline.status === 'completed') terminal.success(`Build, deploy, boot and test succeeded in ${took}.`);
  else terminal.failure(`The pipeline ${pipeline.status} after ${took}.`);
}

/** A path as a person would type it here. */
function shortest(path: string): string {
  const here = relative(process.cwd(), path);
  return here.startsWith('..') ? path : here;
}

/** A row for a suite, and below it one for each of its tests that went wrong. */
export function suiteRows(suite: TestNode): TableRow[] {
  const { pass, fail, error, timeout, missing, skip, todo, xfail } = countTests([suite]);
  const counts = [pass, fail + error + timeout + missing, skip + todo + xfail].map(String);
  const mark = hasBadOutcome(suite) ? 'fail' : suite.outcome === 'skip' ? 'skip' : 'pass';
  const bad = suite.children.filter(hasBadOutcome);
  return [
    { mark, cells: [suite.name, ...counts] },
    ...bad.map(({ name, outcome, reason }): TableRow => ({
      mark: 'fail',
      cells: [`  ${name}${outcome === 'fail' ? '' : ` (${reason ?? outcome})`}`],
    })),
  ];
}

/** Says what went wrong, and the lines of the log that tell why. */
export function tellError(error: StoredError, terminal: Terminal): void {
  terminal.line();
  // It quotes machines: line by line, as what they say in the log.
  const [first = '', ...rest] = error.message.split('\n').map(printable);
  terminal.failure(terminal.style(first, 'red'));
  for (const line of rest) terminal.line(`    │ ${terminal.style(line, 'red')}`);
  const { errorLines, excerpt, stage } = error.details;
  const source = stage === 'build' ? 'build' : 'console';
  for (const line of [...texts(errorLines), ...texts(excerpt)]) terminal.log(source, line, 'red');
}

function texts(value: JsonValue | undefined): string[] {
  return Array.isArray(value) ? value.filter((line) => typeof line === 'string') : [];
}

interface ExportedFile {
  readonly artifact: Artifact;
  readonly path: string;
}

/** Copies what a pipeline made, under its own names, to a folder that then holds nothing else. */
async function exportArtifacts(lab: Lab, pipeline: Pipeline, folder: string): Promise<ExportedFile[]> {
  await rm(folder, { recursive: true, force: true });
  const files: ExportedFile[] = [];
  for (const stage of ['build', 'boot', 'test'] as const) {
    const producer = outputOf(pipeline, stage);
    if (producer === undefined) continue;
    for (const artifact of await lab.artifacts.getArtifactsByProducer(producer)) {
      // Names of artifacts can't lead out of a folder; the SDK sees to that.
      const path = join(folder, artifact.filename);
      await mkdir(dirname(path), { recursive: true });
      await pump(Readable.from(lab.artifacts.read(artifact)), createWriteStream(path));
      files.push({ artifact, path });
    }
  }
  return files;
}

function outputOf(pipeline: Pipeline, name: 'build' | 'boot' | 'test'): string | undefined {
  return pipeline.stages.find((stage) => stage.name === name)?.outputId;
}
