import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lab, Pipeline, TransferReport } from '@bringup/core';
import { exclusively, initrd, keepKernel, linuxBuild, linuxSourceWith } from '../fixtures/linux.ts';
import { expectNothingLeft, outputOf, runPipeline, stagesOf, textOf } from '../fixtures/looking.ts';
import { openLab, registerMachines, startRemoteMachines, type RemoteMachines } from '../fixtures/machines.ts';
import { linuxPipeline, tcg } from '../fixtures/sources.ts';

/** Without a compiler cache the build alone takes ten minutes of CPU time, and other suites run beside it. */
const coldBuildMs = 28 * 60_000;

let machines: RemoteMachines;
let lab: Lab;
const transfers: TransferReport[] = [];
const uploads = (): string[] => [
  ...new Set(transfers.filter((report) => report.direction === 'upload').map((report) => report.filename)),
];

beforeAll(async () => {
  machines = await startRemoteMachines();
  lab = await openLab(machines.settings, { onTransfer: (report) => transfers.push(report) });
  await registerMachines(lab, machines);
});
afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
  await machines?.[Symbol.asyncDispose]();
});

describe('Linux from source, over SSH and libvirt', () => {
  let pipeline: Pipeline;

  test('is built, deployed, booted and tested', { timeout: coldBuildMs }, async () => {
    using _ = await exclusively('kernel');
    const bytes = await initrd('suite');
    const stored = await lab.artifacts.storeArtifact(
      { type: 'initrd', filename: 'initrd', architecture: 'x86_64' },
      inOneChunk(bytes),
    );
    pipeline = await runPipeline(lab, {
      ...(await linuxBuild()),
      environmentType: 'qemu',
      environmentConfig: { vm: tcg, boot: { successPatterns: ['boot complete'] }, extraArtifactIds: [stored.id] },
      tests: { from: 'console' },
    });
    expect(pipeline.error).toBeUndefined();
    expect(stagesOf(pipeline)).toBe('completed completed completed completed');

    const { results, artifacts } = await lab.testRuns.getTestRun(outputOf(pipeline, 'test'));
    expect(results?.totals).toMatchObject({ pass: 24, fail: 0, total: 24 });
    for (const made of await lab.artifacts.getArtifactsByBuild(outputOf(pipeline, 'build')))
      if (made.artifactType === 'kernel_image') await keepKernel(lab, made);
    expect(artifacts.map((artifact) => artifact.filename)).toEqual(['junit.xml', 'results.json', 'test.log']);
    await expectNothingLeft(lab, machines);
  });

  test('leaves artifacts that have the hashes that were computed where they were made', async () => {
    const artifacts = await lab.artifacts.getArtifactsByBuild(outputOf(pipeline, 'build'));
    expect(artifacts.map(({ artifactType }) => artifactType).toSorted()).toEqual([
      'build_log',
      'kernel_config',
      'kernel_image',
    ]);
    for (const artifact of artifacts) {
      const bytes = await lab.artifacts.readAll(artifact);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(artifact.checksumSha256);
    }
    const kernel = artifacts.find(({ artifactType }) => artifactType === 'kernel_image');
    if (kernel === undefined) throw new Error('there is a kernel image');
    // The magic number of the x86 boot protocol, Documentation/arch/x86/boot.rst.
    expect((await lab.artifacts.readAll(kernel)).toString('latin1', 0x202, 0x206)).toBe('HdrS');
  });

  test('keeps complete logs of build and boot', async () => {
    const build = await textOf(lab.pipelines.getStageLogs(pipeline.id, 'build'));
    expect(build).toMatch(/^bringup: copying .*\n/);
    expect(build).toContain('Kernel: arch/x86/boot/bzImage is ready');
    const boot = await textOf(lab.pipelines.getStageLogs(pipeline.id, 'boot'));
    expect(boot).toMatch(/^\[ +0\.000000\] Linux version 6\./m);
    const rest = await textOf(lab.pipelines.getStageLogs(pipeline.id, 'test'));
    // The test's log goes on where the boot's ended: together they are the console, without gap or repeat.
    expect((boot + rest).match(/boot complete/g)).toHaveLength(1);
    expect((boot + rest).match(/^KTAP version 1/gm)).toHaveLength(1);
    expect(rest).toMatch(/ok 4 processes/);
    const [log] = await lab.artifacts.getArtifactsByProducer(outputOf(pipeline, 'boot'));
    if (log === undefined) throw new Error('there is a boot log');
    expect((await lab.artifacts.readAll(log)).toString()).toBe(boot);
  });

  test('is not transferred again when the same build is deployed once more', async () => {
    const files = join(machines.host.workspace, 'files');
    const before = await identities(files);
    expect(uploads().toSorted()).toEqual(['bzImage', 'initrd']);
    transfers.length = 0;
    const again = await lab.pipelines.waitForPipeline(
      (await lab.pipelines.retryPipelineStage(pipeline.id, 'deploy')).id,
    );
    expect(again.status).toBe('completed');
    expect(uploads()).toEqual([]);
    expect(await identities(files)).toEqual(before);
    await expectNothingLeft(lab, machines);
  });
});

describe('A Linux that does not compile', () => {
  test('fails its build with what the compiler said, and goes no further', async () => {
    // The first file of the kernel that is compiled.
    const tree = await linuxSourceWith('kernel/bounds.c', 'int main(void) { return not_declared; }\n');
    try {
      const pipeline = await runPipeline(lab, {
        ...(await linuxBuild()),
        sourceRepository: tree,
        environmentType: 'qemu',
        tests: { from: 'console' },
      });
      expect(stagesOf(pipeline)).toBe('failed skipped skipped skipped');
      expect(pipeline.error?.code).toBe('build-failed');
      expect(pipeline.errorMessage).toMatch(/kernel\/bounds\.c:1:\d+: error: .not_declared. undeclared/);
      await expectNothingLeft(lab, machines);
    } finally {
      await rm(tree, { recursive: true });
    }
  });
});

describe('A Linux that does not come up', () => {
  test('fails its boot when it finds no init, told by the panic', async () => {
    const pipeline = await runPipeline(lab, await linuxPipeline(lab, machines.folder, 'none'));
    expect(stagesOf(pipeline)).toBe('completed completed failed skipped');
    expect(pipeline.error).toMatchObject({ code: 'boot-failed', details: { stage: 'boot' } });
    expect(pipeline.errorMessage).toContain('No working init found');
    await expectBootLog(pipeline, /Kernel panic - not syncing: No working init found/);
    await expectNothingLeft(lab, machines);
  });

  test('fails its boot when init exits, with the report as an excerpt', async () => {
    const pipeline = await runPipeline(lab, await linuxPipeline(lab, machines.folder, 'exits', booting({})));
    expect(stagesOf(pipeline)).toBe('completed completed failed skipped');
    expect(pipeline.error?.code).toBe('boot-failed');
    const { boot } = await lab.deployments.getDeploymentStatus(outputOf(pipeline, 'deploy'));
    expect(boot).toMatchObject({ outcome: 'failed', matched: 'init-killed' });
    expect(boot?.excerpt.join('\n')).toMatch(/Attempted to kill init! exitcode=0x00000300/);
    await expectBootLog(pipeline, /init gives up[^]*Kernel panic/);
    await expectNothingLeft(lab, machines);
  });

  test('times out when init hangs, with the last line it said', async () => {
    const pipeline = await runPipeline(
      lab,
      await linuxPipeline(lab, machines.folder, 'sleeps', booting({ timeoutMs: 8_000 })),
    );
    expect(stagesOf(pipeline)).toBe('completed completed failed skipped');
    expect(pipeline.error?.code).toBe('boot-timeout');
    expect(pipeline.errorMessage).toMatch(/within \d{4,5} ms; the console's last line is: \[ +\d+\.\d+\] \S/);
    await expectBootLog(pipeline, /Run \/init as init process/);
    await expectNothingLeft(lab, machines);
  });

  test('times out early when it never says a word', async () => {
    const mute = { ...tcg, commandLine: 'console=ttyS3 quiet' };
    const pipeline = await runPipeline(
      lab,
      await linuxPipeline(lab, machines.folder, 'sleeps', booting({ silenceMs: 6_000 }, mute)),
    );
    expect(pipeline.error?.code).toBe('boot-timeout');
    const { boot } = await lab.deployments.getDeploymentStatus(outputOf(pipeline, 'deploy'));
    expect(boot).toMatchObject({ outcome: 'silent', consoleBytes: 0 });
    await expectBootLog(pipeline, /^$/);
    await expectNothingLeft(lab, machines);
  });
});

describe('Tests by commands', () => {
  const commands = [
    { name: 'proc is mounted', argv: ['test', '-e', '/proc/version'] },
    { name: 'arguments arrive as they are', argv: ['sh', '-c', `test "$1" = 'a  b"$HOME'`, 'sh', 'a  b"$HOME'] },
    { name: 'tap', argv: ['printf', 'TAP version 13\n1..2\nok 1 - one\nok 2 - two # SKIP not here\n'] },
    { name: 'fails', argv: ['sh', '-c', 'echo to be seen; exit 7'] },
  ];

  test('run in a shell on the console', async () => {
    const pipeline = await runPipeline(
      lab,
      await linuxPipeline(lab, machines.folder, 'shell', { tests: { from: 'console-shell', commands } }),
    );
    await expectCommands(pipeline);
    await expectNothingLeft(lab, machines);
  });

  test('run over SSH', async () => {
    const { hostname, sshPort, sshUsername, sshKeyPath } = machines.server;
    const target = {
      hostname,
      ...(sshPort !== undefined && { sshPort }),
      ...(sshUsername !== undefined && { sshUsername }),
      ...(sshKeyPath !== undefined && { sshKeyPath }),
    };
    const pipeline = await runPipeline(
      lab,
      await linuxPipeline(lab, machines.folder, 'shell', { tests: { from: 'shell', target, commands } }),
    );
    await expectCommands(pipeline);
    expect(
      await readdir('/tmp').then((names) =>
        names.filter((name) => name.startsWith(`bringup-${outputOf(pipeline, 'test')}`)),
      ),
    ).toEqual([]);
    await expectNothingLeft(lab, machines);
  });

  async function expectCommands(pipeline: Pipeline): Promise<void> {
    expect(stagesOf(pipeline)).toBe('completed completed completed failed');
    expect(pipeline.error).toMatchObject({ code: 'tests-failed', details: { failed: ['fails'] } });
    const { results } = await lab.testRuns.getTestRun(outputOf(pipeline, 'test'));
    expect(results?.totals).toMatchObject({ total: 5, pass: 3, skip: 1, fail: 1 });
    expect(await textOf(lab.pipelines.getStageLogs(pipeline.id, 'test'))).toContain('to be seen');
  }
});

/** Waits for what no init but that of the suite says, with these bounds. */
function booting(
  bounds: { readonly timeoutMs?: number; readonly silenceMs?: number },
  vm: { readonly commandLine?: string } = {},
): Pick<Parameters<typeof runPipeline>[1], 'environmentConfig'> {
  return { environmentConfig: { vm: { ...tcg, ...vm }, boot: { successPatterns: ['boot complete'], ...bounds } } };
}

/** The boot's log is kept as an artifact, and is what the stage's log says. */
async function expectBootLog(pipeline: Pipeline, text: RegExp): Promise<void> {
  const [log] = await lab.artifacts.getArtifactsByProducer(outputOf(pipeline, 'boot'));
  if (log === undefined) throw new Error('the boot log was not kept');
  expect(log.artifactType).toBe('boot_log');
  const kept = (await lab.artifacts.readAll(log)).toString();
  expect(kept).toMatch(text);
  expect(await textOf(lab.pipelines.getStageLogs(pipeline.id, 'boot'))).toBe(kept);
}

/** What tells a file that was written again from one that was left alone. */
async function identities(folder: string): Promise<readonly string[]> {
  const names = (await readdir(folder)).toSorted();
  return Promise.all(
    names.map(async (name) => stat(join(folder, name)).then(({ ino, birthtimeMs }) => `${name} ${ino} ${birthtimeMs}`)),
  );
}

async function* inOneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
