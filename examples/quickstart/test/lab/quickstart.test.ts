import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLab, fileArtifactStorage, localQemu, localShell, sqlite } from '@bringup/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CopiedExample } from './copied-example.ts';

let example: CopiedExample;
beforeEach(async () => {
  example = await CopiedExample.make();
});
afterEach(() => example[Symbol.asyncDispose]());

/** Each compilation takes a moment, so that a build can be met in its middle. */
const slowBuild = (): Promise<void> => example.edit('Makefile', 'run_step = @printf', 'run_step = @sleep 0.2; printf');

/** The boot takes seconds under an emulator before it says that it is complete. */
const slowBoot = (): Promise<void> =>
  example.edit(
    'kernel/main.c',
    'print("boot complete',
    'print("dawdling\\n");\n\tfor (volatile uint32_t i = 0; i < 400000000u; i++)\n\t\t;\n\tprint("boot complete',
  );

async function expectNothingLeft(): Promise<void> {
  expect(await example.processes()).toEqual([]);
  expect(await example.leftovers()).toEqual([]);
  await using lab = await createLab({
    store: sqlite({ path: join(example.folder, '.bringup/lab.db') }),
    artifacts: fileArtifactStorage({ path: join(example.folder, '.bringup/artifacts') }),
    connectors: { shell: localShell(), hypervisor: localQemu() },
    roles: [],
  });
  const resources = [...(await lab.buildServers.getAllServers()), ...(await lab.hosts.getAllHosts())];
  expect(resources.map(({ currentUtilization }) => currentUtilization)).toEqual([0, 0]);
}

const pipelineIds = (output: string): string[] => [
  ...new Set(Array.from(output.matchAll(/ipeline (\w{26})/g), ([, id]) => id ?? '')),
];

describe('the quickstart', () => {
  test('takes the BSP through build, deploy, boot and test, shows it, and does so again', async () => {
    const first = await example.run();
    expect(first).toMatchObject({ status: 0, errors: '' });
    for (const text of [
      'Build (1 of 4)',
      'build   │   CC',
      'Deploy (2 of 4)',
      '100 %',
      'Boot (3 of 4)',
      'console │ boot complete',
      'Test (4 of 4)',
      '✔ timer',
    ]) {
      expect(first.output).toContain(text);
    }
    const files = Array.from(first.output.matchAll(/ k?B {2}(\.bringup\/latest\/\S+)/g), ([, path]) => path ?? '');
    expect(files.map((path) => path.split('/').at(-1))).toEqual(
      expect.arrayContaining(['boot.log', 'build.log', 'junit.xml', 'results.json']),
    );
    for (const path of files) expect(existsSync(join(example.folder, path))).toBe(true);
    const results = JSON.parse(await readFile(join(example.folder, '.bringup/latest/results.json'), 'utf8')) as {
      totals: { pass: number; total: number };
    };
    expect(results.totals.pass).toBe(results.totals.total);
    expect((await example.run()).status).toBe(0);
    await expectNothingLeft();
  });

  test('fails in the build stage with the message of the compiler when the source is broken', async () => {
    await example.edit('kernel/main.c', 'serial_init();', 'serial_init()');
    const { output, status } = await example.run();
    expect(status).toBe(1);
    expect(output).toContain('build failed');
    expect(output).not.toContain('Deploy (');
    for (const part of output.split('✘ build failed')) expect(part).toMatch(/kernel\/main\.c:\d+:\d+: error: expected/);
    await expectNothingLeft();
  });

  test('fails in the test stage and names the test when a self test fails', async () => {
    await example.edit('lib/crc32.c', /0x[0-9a-fA-F]{8}/, '0x12345678');
    const { output, status } = await example.run();
    expect(status).toBe(1);
    expect(output).toContain('test failed');
    expect(output).toMatch(/✘ crc32 .*\n {2}✘ {3}check_vector/);
    await expectNothingLeft();
  });

  test('fails in the boot stage when the BSP hangs', async () => {
    await example.edit('kernel/main.c', 'print("boot complete', 'for (;;)\n\t\t;\n\tprint("boot complete');
    await example.editPlan('timeoutMs: 60_000, silenceMs: 20_000', 'timeoutMs: 3_000, silenceMs: 3_000');
    const { output, status } = await example.run();
    expect(status).toBe(1);
    expect(output).toContain('boot failed');
    expect(output).not.toContain('Test (');
    await expectNothingLeft();
  });
});

describe('a killed quickstart', () => {
  test.each([
    ['build', slowBuild, 'CC      build/lib/list.c.o'],
    ['boot', slowBoot, 'console │ dawdling'],
  ])('goes on in stage %s when it is started again, and finishes the same pipeline', async (stage, slow, moment) => {
    await slow();
    const killed = example.start();
    await killed.said(moment);
    killed.kill('SIGKILL');
    const before = await killed.ended;
    const after = await example.run();
    expect(after).toMatchObject({ status: 0, errors: '' });
    expect(after.output).toMatch(
      new RegExp(`Found pipeline \\w+, interrupted in stage ${stage} .* ago; going on with it`),
    );
    expect(pipelineIds(after.output)).toEqual(pipelineIds(before.output));
    // The log is whole: each line once, those from before the kill included.
    expect(
      after.output.match(stage === 'build' ? /CC {6}build\/lib\/list\.c\.o\n/g : /console │ dawdling\n/g),
    ).toHaveLength(1);
    expect(
      after.output.match(stage === 'build' ? /CC {6}build\/tests\/timer\.c\.o\n/g : /console │ boot complete\n/g),
    ).toHaveLength(1);
    await expectNothingLeft();
  });

  test('cancels what it was at and starts anew when the source has changed meanwhile', async () => {
    await slowBuild();
    const killed = example.start();
    await killed.said('CC      build/lib/list.c.o');
    killed.kill('SIGKILL');
    const before = await killed.ended;
    await example.edit('kernel/main.c', 'boot complete', 'boot complete, changed');
    const after = await example.run();
    expect(after.status).toBe(0);
    expect(after.output).toContain('its source or options were others. Cancelling it.');
    expect(pipelineIds(after.output)).toHaveLength(2);
    expect(pipelineIds(after.output)[0]).toBe(pipelineIds(before.output)[0]);
    expect(after.output).toContain('boot complete, changed');
    await expectNothingLeft();
  });
});

describe('a stopped quickstart', () => {
  test.each([
    ['SIGINT', 130, 'build', slowBuild, 'CC      build/lib/list.c.o'],
    ['SIGINT', 130, 'boot', slowBoot, 'console │ dawdling'],
    ['SIGTERM', 143, 'boot', slowBoot, 'console │ dawdling'],
  ] as const)('leaves nothing behind: %s ends it with %i in stage %s', async (signal, status, _stage, slow, moment) => {
    await slow();
    const run = example.start();
    await run.said(moment);
    run.kill(signal);
    expect(await run.ended).toMatchObject({ status, errors: '' });
    await expectNothingLeft();
  });

  test('leaves at once at a second Ctrl-C, and the next start puts away what was left', async () => {
    await slowBuild();
    const run = example.start();
    await run.said('CC      build/lib/list.c.o');
    run.kill('SIGINT');
    await run.said('Stopping');
    run.kill('SIGINT');
    expect(await run.ended).toMatchObject({ status: 130 });
    expect((await example.run()).status).toBe(0);
    await expectNothingLeft();
  });

  test('starts anew the next time', async () => {
    await slowBuild();
    const run = example.start();
    await run.said('CC      build/lib/list.c.o');
    run.kill('SIGINT');
    await run.ended;
    const next = await example.run();
    expect(next.status).toBe(0);
    expect(next.output).not.toContain('Found pipeline');
  });
});

test('a second quickstart in the same folder is refused', async () => {
  await slowBuild();
  const run = example.start();
  await run.said('Pipeline ');
  const second = await example.run();
  expect(second.status).toBe(1);
  expect(second.output).toContain('another quickstart is at work in');
  expect((await run.ended).status).toBe(0);
});
