import { execFile } from 'node:child_process';
import { appendFile, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest';
import type { Architecture, Lab, Pipeline } from '@bringup/core';
import { ConsoleReader } from '@bringup/core/testing';
import { expectNothingLeft, outputOf, runPipeline, stagesOf, textOf } from '../fixtures/looking.ts';
import {
  openLab,
  registerMachines,
  startRemoteMachines,
  type Machines,
  type RemoteMachines,
} from '../fixtures/machines.ts';
import { bspPipeline, bspRepository, steppedBuild, tcg } from '../fixtures/sources.ts';

const run = promisify(execFile);

let machines: RemoteMachines;
beforeAll(async () => {
  machines = await startRemoteMachines();
});
afterAll(async () => {
  await machines?.[Symbol.asyncDispose]();
});

describe('With a lab in order', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await openLab(machines.settings);
    await registerMachines(lab, machines);
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  });

  /** The pipeline halted at its build, whose log is kept. */
  async function expectHaltedAtBuild(pipeline: Pipeline, saying: RegExp): Promise<void> {
    expect(stagesOf(pipeline)).toBe('failed skipped skipped skipped');
    const [log] = await lab.artifacts.getArtifactsByBuild(outputOf(pipeline, 'build'));
    if (log === undefined) throw new Error('the build log was not kept');
    expect(log.artifactType).toBe('build_log');
    expect((await lab.artifacts.readAll(log)).toString()).toMatch(saying);
    await expectNothingLeft(lab, machines);
  }

  test('a source that does not compile fails with what the compiler said', async () => {
    const source = await bspRepository(machines.folder, (tree) =>
      appendFile(join(tree, 'lib/crc32.c'), 'int broken(void) { return not_declared; }\n'),
    );
    const pipeline = await runPipeline(lab, bspPipeline(source));
    const said = /lib\/crc32\.c:\d+:\d+: error: .not_declared. undeclared/;
    expect(pipeline).toMatchObject({
      status: 'failed',
      commitHash: source.commitHash,
      error: { code: 'build-failed' },
    });
    expect(pipeline.errorMessage).toMatch(said);
    expect(pipeline.error?.details['errorLines']).toEqual(expect.arrayContaining([expect.stringMatching(said)]));
    await expectHaltedAtBuild(pipeline, said);
  });

  test('an output that the build does not make is named', async () => {
    const source = await bspRepository(machines.folder);
    const outputs = [{ type: 'kernel_image', path: 'build/another.elf' }] as const;
    const pipeline = await runPipeline(lab, bspPipeline(source, { buildConfig: { recipe: 'make', outputs } }));
    expect(pipeline.error).toMatchObject({ code: 'output-missing', details: { missing: ['build/another.elf'] } });
    await expectHaltedAtBuild(pipeline, /bringup-bsp\.elf/);
  });

  test('a source that is not there is named', async () => {
    const repository = join(machines.folder, 'not-there');
    const pipeline = await runPipeline(lab, bspPipeline({ repository }));
    expect(pipeline.error).toMatchObject({
      code: 'source-missing',
      details: { repository, server: '127.0.0.1', stage: 'build' },
    });
    expect(pipeline.errorMessage).toContain(repository);
    await expectHaltedAtBuild(pipeline, /there is no folder/);
  });

  test('a commit that does not exist is named', async () => {
    const source = await bspRepository(machines.folder);
    const commitHash = 'c0ffee'.padEnd(40, '0');
    const pipeline = await runPipeline(lab, bspPipeline(source, { commitHash }));
    expect(pipeline.error?.code).toBe('commit-not-found');
    expect(pipeline.errorMessage).toContain(`there is no commit ${commitHash} in ${source.repository}`);
    await expectHaltedAtBuild(pipeline, /there is no commit/);
  });

  test('an unknown architecture is refused at the door, with those that are known', async () => {
    const request = { ...bspPipeline({ repository: '/src' }), targetArchitecture: 'pdp11' as Architecture };
    await expect(lab.pipelines.createPipeline(request)).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'targetArchitecture', message: expect.stringContaining('x86_64') }] },
    });
  });

  test('an architecture that no server compiles for fails, saying what was asked of whom', async () => {
    const pipeline = await runPipeline(lab, {
      ...bspPipeline(await bspRepository(machines.folder)),
      targetArchitecture: 'riscv64',
    });
    expect(stagesOf(pipeline)).toBe('failed skipped skipped skipped');
    expect(pipeline.error?.code).toBe('no-match');
    expect(pipeline.errorMessage).toContain('riscv64');
    await expectNothingLeft(lab, machines);
  });

  test('tests that hang are ended at their deadline, and what was said is kept', async () => {
    const source = await bspRepository(machines.folder, async (tree) => {
      const main = join(tree, 'kernel/main.c');
      const text = await readFile(main, 'utf8');
      await writeFile(main, text.replace('tests_run()', '({ for (;;); 1; })'));
    });
    const pipeline = await runPipeline(
      lab,
      bspPipeline(source, {
        environmentConfig: { vm: tcg, boot: { successPatterns: ['boot complete'] } },
        tests: { from: 'console', timeoutMs: 3_000 },
      }),
    );
    expect(stagesOf(pipeline)).toBe('completed completed completed failed');
    expect(pipeline.error).toMatchObject({ code: 'tests-incomplete', details: { stage: 'test' } });
    expect(await textOf(lab.pipelines.getStageLogs(pipeline.id, 'boot'))).toContain('boot complete');
    await expectNothingLeft(lab, machines);
  });

  test('a VM that hangs is looked at, reset and interrupted, and says on its console what that led to', async () => {
    const source = await bspRepository(machines.folder, async (tree) => {
      const main = join(tree, 'kernel/main.c');
      const text = await readFile(main, 'utf8');
      await writeFile(main, text.replace('tests_run()', '({ for (;;); 1; })'));
    });
    const { sourceRepository, targetArchitecture, buildConfig } = bspPipeline(source);
    const build = await lab.builds.submitBuild({ sourceRepository, targetArchitecture, buildConfig });
    await lab.builds.waitForBuild(build.id);
    const { id: environmentId } = await lab.environments.create({
      targetType: 'qemu_host',
      artifacts: { buildId: build.id },
      vm: { ...tcg, display: true },
      boot: { successPatterns: ['boot complete'] },
    });
    const { status, deploymentId } = await lab.environments.waitForEnvironment(environmentId);
    expect(status).toBe('ready');
    const { mimeType, image } = await lab.vms.screenshot({ environmentId });
    expect(Buffer.from(image.subarray(0, 8)).toString('latin1')).toMatch(
      mimeType === 'image/png' ? /^\x89PNG/ : /^P6\s/,
    );
    await using console = await lab.deployments.openConsole(deploymentId);
    const reader = new ConsoleReader(console);
    await lab.vms.reset({ environmentId }, { by: 'ada', reason: 'it hangs' });
    const boots = (): number => reader.text.split('boot complete').length - 1;
    await expect.poll(boots, { timeout: 30_000 }).toBe(2);
    // A kernel that has no use for an NMI panics on it and stands still, until it is reset.
    await lab.vms.injectNmi({ deploymentId });
    await expect.poll(() => reader.text, { timeout: 30_000 }).toContain('Kernel panic - not syncing: CPU exception 2');
    await lab.vms.reset({ environmentId });
    await expect.poll(boots, { timeout: 30_000 }).toBe(3);
    const told: string[] = [];
    for await (const { name, data } of lab.events.read()) {
      if (name.startsWith('vm:')) told.push('error' in data ? `${name} ${data.error?.code ?? ''}` : name);
    }
    expect(told).toEqual(['vm:screenshot', 'vm:reset', 'vm:nmi', 'vm:reset']);
    await lab.environments.release(environmentId);
    await expectNothingLeft(lab, machines);
  });
});

describe('With machines of its own,', () => {
  let folder: string;
  let own: Machines;
  let lab: Lab;
  let count = 0;
  beforeEach(async () => {
    folder = join(machines.folder, `own-${(count += 1)}`);
    await mkdir(folder);
    const knownHosts = join(folder, 'known_hosts');
    await copyFile(machines.sshd.knownHosts, knownHosts);
    const { remote } = machines.settings;
    if (remote === undefined) throw new TypeError('remote machines are remote');
    own = { ...machines, folder, settings: { folder, remote: { ...remote, knownHosts } } };
    lab = await openLab(own.settings);
  });
  afterEach(async () => {
    await lab?.[Symbol.asyncDispose]();
  });

  test('a host key that changed ends the pipeline with what to do, and nobody logs in', async () => {
    await registerMachines(lab, own);
    // A lab that is opened later trusts what the file says by then.
    await lab[Symbol.asyncDispose]();
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'other')]);
    const [type, key] = (await readFile(join(folder, 'other.pub'), 'utf8')).split(' ');
    await writeFile(join(folder, 'known_hosts'), `[127.0.0.1]:${machines.sshd.port} ${type} ${key}\n`);
    // Whoever watches its health would take the server out of service, and the build would wait for another one.
    lab = await openLab(own.settings, { roles: ['builds', 'deployments', 'recovery'] });

    const pipeline = await runPipeline(lab, bspPipeline(await bspRepository(folder)));
    expect(stagesOf(pipeline)).toBe('failed skipped skipped skipped');
    expect(pipeline.error?.code).toBe('host-key-changed');
    expect(pipeline.errorMessage).toContain(join(folder, 'known_hosts'));
    await expectNothingLeft(lab, own);
    await expect(lab.hosts.validateHostConnectivity(own.host)).rejects.toMatchObject({ code: 'host-key-changed' });
  });

  describe('whose disk is full,', () => {
    let disk: string;
    beforeEach(async () => {
      disk = join(folder, 'disk');
      await mkdir(disk);
      await run('mount', ['-t', 'tmpfs', '-o', 'size=12G', 'tmpfs', disk]);
    });
    afterEach(async () => {
      await lab[Symbol.asyncDispose]();
      await run('umount', [disk]);
    });

    /** From now on there is room for this much. */
    const shrink = (size: string): Promise<unknown> => run('mount', ['-o', `remount,size=${size}`, disk]);

    test('a build fails with disk-full, its log kept and its server free', async () => {
      const workspace = join(disk, 'server');
      own = { ...own, server: { ...own.server, workspace } };
      await registerMachines(lab, own);
      await shrink('20M');
      const { pipeline: request } = await steppedBuild(folder, { gate: false });
      const pipeline = await runPipeline(lab, request);
      expect(stagesOf(pipeline)).toBe('failed skipped skipped skipped');
      expect(pipeline.error?.code).toBe('disk-full');
      expect(pipeline.errorMessage).toContain(`no space left on device in ${workspace}`);
      expect(await textOf(lab.pipelines.getStageLogs(pipeline.id, 'build'))).toContain('after 4000\n');
      await expectNothingLeft(lab, own);
    });

    test('a deployment fails with disk-full, its build kept and its host free', async () => {
      const workspace = join(disk, 'host');
      own = { ...own, host: { ...own.host, workspace } };
      await registerMachines(lab, own);
      await shrink('20M');
      const { pipeline: request } = await steppedBuild(folder, { gate: false });
      const pipeline = await runPipeline(lab, request);
      expect(stagesOf(pipeline)).toBe('completed failed skipped skipped');
      expect(pipeline.error?.code).toBe('disk-full');
      expect(pipeline.errorMessage).toContain(workspace);
      expect(await lab.artifacts.getArtifactsByBuild(outputOf(pipeline, 'build'))).toHaveLength(3);
      await expectNothingLeft(lab, own);
    });
  });
});
