// A job inside an existing CI runner: builds the checked-out tree, boots it, runs its tests.
//
//   node src/main.ts --source DIR|URL [--commit HASH] [--state DIR] [--junit FILE]
import { writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { PipelineRequest } from '@bringup/core';
import { ciLog } from './ci-log.ts';
import { exitStatus, explain, junitOf, runJob, statusOf, tell } from './job.ts';
import { openLab } from './lab.ts';

const { env } = process;
const { values } = parseArgs({
  options: {
    source: { type: 'string', default: `${import.meta.dirname}/../../quickstart/bsp` },
    commit: { type: 'string' },
    state: { type: 'string', default: '.bringup' },
    junit: { type: 'string', default: 'junit.xml' },
  },
});
// The same for each attempt of one job: that is how a killed attempt is found again.
const run = env['GITHUB_RUN_ID'] ?? env['CI_PIPELINE_ID'] ?? 'local';
const job = env['GITHUB_JOB'] ?? env['CI_JOB_NAME'] ?? 'bringup';
const request: PipelineRequest = {
  name: `${run} ${job}`,
  sourceRepository: values.source.includes('://') ? values.source : resolve(values.source),
  ...(values.commit !== undefined && { commitHash: values.commit }),
  targetArchitecture: 'x86_64',
  buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'build/*.elf' }] },
  buildRequirements: { minMemoryMb: 256, minStorageGb: 1 },
  environmentType: 'qemu',
  environmentConfig: { vm: { memoryMb: 128 }, boot: { timeoutMs: 60_000 } },
  tests: { from: 'console', timeoutMs: 60_000 },
};

const log = ciLog(env, (text) => void process.stdout.write(text));
const stop = new AbortController();
let received: 'SIGINT' | 'SIGTERM' | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // Runners send SIGKILL some seconds after the first signal; a second one is somebody in a hurry.
    if (received !== undefined) process.exit(128 + constants.signals[signal]);
    received = signal;
    stop.abort();
  });
}

try {
  await using lab = await openLab(resolve(values.state));
  const pipeline = await runJob(lab, request, log, stop.signal);
  await writeFile(values.junit, await junitOf(lab, pipeline));
  process.exitCode = statusOf(pipeline);
  if (pipeline.status !== 'completed') log.error(explain(pipeline));
} catch (error) {
  log.error(tell(error));
  process.exitCode = exitStatus.labIsBad;
}
if (received !== undefined) process.exitCode = 128 + constants.signals[received];
