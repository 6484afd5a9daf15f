import { describe, expect, it } from 'vitest';
import { type TestConfig } from '@bringup/core';
import { memoryGuests, memoryLab, sqliteError, type MemoryBoot, type MemoryLab } from '@bringup/core/testing';
import { deployToBoard, labWithBoard } from '../support/boards.ts';
import { kernelBuild, repositories, textOf } from '../support/requests.ts';

const header = 'KTAP version 1\r\n1..3\r\n';

async function deployed(guest: MemoryBoot): Promise<{ lab: MemoryLab; deploymentId: string }> {
  const lab = await memoryLab({ repositories, guest });
  await lab.addServer();
  await lab.addHost();
  const build = await lab.builds.submitBuild(kernelBuild);
  await lab.clock.runUntil(lab.builds.waitForBuild(build.id));
  const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId: build.id } });
  expect((await lab.clock.runUntil(lab.deployments.waitForDeployment(id))).status).toBe('completed');
  return { lab, deploymentId: id };
}

/** Boots, and some time later prints its results. */
const prints =
  (results: string): MemoryBoot =>
  async (guest) => {
    guest.say(header);
    await guest.sleep(20_000);
    guest.say(results);
    await guest.idle();
  };

async function run(
  lab: MemoryLab,
  deploymentId: string,
  tests: TestConfig,
): ReturnType<MemoryLab['testRuns']['waitForTestRun']> {
  const { id } = await lab.testRuns.runTests(deploymentId, tests);
  return lab.clock.runUntil(lab.testRuns.waitForTestRun(id));
}

describe('a test run', () => {
  it('reads what the machine prints, and is completed when all of it passed', async () => {
    const { lab, deploymentId } = await deployed(prints('ok 1 a\r\nok 2 b\r\nok 3 c # SKIP no hardware\r\n'));
    await using _lab = lab;
    const done = await run(lab, deploymentId, { from: 'console' });
    expect(done).toMatchObject({
      status: 'completed',
      results: { totals: { total: 3, pass: 2, skip: 1 }, complete: true },
    });
    expect(done.artifacts.map(({ filename }) => filename)).toEqual(['junit.xml', 'results.json', 'test.log']);
  });

  it('fails when a test did, names it, and keeps the results', async () => {
    const { lab, deploymentId } = await deployed(prints('ok 1 a\r\nnot ok 2 b\r\nok 3 c\r\n'));
    await using _lab = lab;
    const failed = await run(lab, deploymentId, { from: 'console' });
    expect(failed).toMatchObject({
      status: 'failed',
      error: { code: 'tests-failed', details: { failed: ['b'] } },
      results: { totals: { pass: 2, fail: 1 } },
    });
    const log = failed.artifacts.find(({ filename }) => filename === 'test.log') ?? expect.fail();
    expect((await lab.artifacts.readAll(log)).toString()).toBe(await textOf(lab.testRuns.getTestLogs(failed.id)));
  });

  it('is not completed when planned results never come', async () => {
    const { lab, deploymentId } = await deployed(prints('ok 1 a\r\n'));
    await using _lab = lab;
    const failed = await run(lab, deploymentId, { from: 'console', timeoutMs: 60_000 });
    expect(failed.status).toBe('failed');
    expect(['tests-incomplete', 'tests-failed']).toContain(failed.error?.code);
    expect(failed.results).toMatchObject({ complete: false, totals: { pass: 1 } });
  });

  it('runs commands on a machine it reaches by its shell, and goes on when the connection breaks', async () => {
    const { lab, deploymentId } = await deployed(prints(''));
    await using _lab = lab;
    lab.shell.commands.set('selftest', async ({ argv, stdout, clock }) => {
      for (let line = 0; line < 5; line += 1) {
        await stdout.write(`# ${argv[1]} ${line}\n`);
        await new Promise<void>((resolve) => clock.timer(1_000, resolve));
      }
      return argv[1] === 'bad' ? 1 : 0;
    });
    const tests: TestConfig = {
      from: 'shell',
      target: { hostname: 'target1' },
      commands: [
        { name: 'good', argv: ['selftest', 'good'] },
        { name: 'bad', argv: ['selftest', 'bad'] },
      ],
    };
    const { id } = await lab.testRuns.runTests(deploymentId, tests);
    await lab.clock.advance(2_500);
    lab.shell.host('target1').dropConnections();
    await lab.clock.advance(4_000);
    lab.shell.host('target1').dropConnections();
    const done = await lab.clock.runUntil(lab.testRuns.waitForTestRun(id));
    expect(done).toMatchObject({
      status: 'failed',
      error: { code: 'tests-failed', details: { failed: ['bad'] } },
      results: { totals: { pass: 1, fail: 1 } },
    });
    expect(await textOf(lab.testRuns.getTestLogs(id))).toBe(
      ['good', 'bad'].flatMap((name) => [0, 1, 2, 3, 4].map((line) => `# ${name} ${line}\n`)).join(''),
    );
  });

  it('runs each command once, though its process dies while what is left of one is cleared away', async () => {
    const { lab, deploymentId } = await deployed(prints(''));
    const ran: string[] = [];
    const clearing = Promise.withResolvers<void>();
    let died = false;
    const target = lab.shell.host('target1');
    lab.shell.commands.set('selftest', ({ argv }) => void ran.push(argv[1] ?? ''));
    lab.shell.commands.set('rm', async ({ argv, fs }) => {
      fs.remove(argv.at(-1) ?? '', { recursive: true });
      clearing.resolve();
      if (!died) await new Promise(() => undefined);
    });
    const { id } = await lab.testRuns.runTests(deploymentId, {
      from: 'shell',
      target: { hostname: 'target1' },
      commands: [
        { name: 'first', argv: ['selftest', 'first'] },
        { name: 'second', argv: ['selftest', 'second'] },
      ],
    });
    await lab.clock.runUntil(clearing.promise);
    await lab.crash();
    died = true;
    await using next = await lab.reopen();
    expect(await next.clock.runUntil(next.testRuns.waitForTestRun(id))).toMatchObject({
      status: 'completed',
      results: { totals: { pass: 2 } },
    });
    expect(ran).toEqual(['first', 'second']);
    expect(target.fs.list('/tmp')).toEqual([]);
  });

  it('that takes too long has failed, and was not cancelled', async () => {
    const { lab, deploymentId } = await deployed(prints(''));
    await using _lab = lab;
    lab.shell.commands.set(
      'forever',
      ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    );
    const failed = await run(lab, deploymentId, {
      from: 'shell',
      target: { hostname: 'target1' },
      commands: [{ name: 'forever', argv: ['forever'] }],
      timeoutMs: 30_000,
    });
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'deadline-exceeded' } });
  });

  it('ends what it started when it is cancelled', async () => {
    const { lab, deploymentId } = await deployed(prints(''));
    await using _lab = lab;
    let ended = false;
    lab.shell.commands.set(
      'forever',
      ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => ((ended = true), resolve()))),
    );
    const { id } = await lab.testRuns.runTests(deploymentId, {
      from: 'shell',
      target: { hostname: 'target1' },
      commands: [{ name: 'forever', argv: ['forever'] }],
    });
    await lab.clock.advance(5_000);
    await lab.testRuns.cancelTestRun(id);
    expect((await lab.clock.runUntil(lab.testRuns.waitForTestRun(id))).status).toBe('cancelled');
    expect(ended).toBe(true);
  });

  it('is refused by a target that was given back', async () => {
    const { lab, deploymentId } = await deployed(prints(''));
    await using _lab = lab;
    await lab.clock.runUntil(lab.deployments.releaseDeployment(deploymentId));
    expect((await run(lab, deploymentId, { from: 'console' })).error).toMatchObject({ code: 'conflict' });
  });
});

describe('a test run whose console breaks', () => {
  it('on a VM goes on at the byte it had reached, and reads every result once', async () => {
    const { lab, deploymentId } = await deployed(async (guest) => {
      guest.say('KTAP version 1\r\n1..10\r\n');
      for (let test = 1; test <= 10; test += 1) {
        await guest.sleep(1_000);
        guest.say(`ok ${test} t${test}\r\n`);
      }
      await guest.idle();
    });
    await using _lab = lab;
    const { id } = await lab.testRuns.runTests(deploymentId, { from: 'console' });
    for (let cut = 0; cut < 4; cut += 1) {
      await lab.clock.advance(2_000);
      await lab.hypervisor.disconnect();
    }
    const done = await lab.clock.runUntil(lab.testRuns.waitForTestRun(id));
    expect(done).toMatchObject({ status: 'completed', results: { totals: { total: 10, pass: 10 } } });
    expect((await textOf(lab.testRuns.getTestLogs(id))).match(/ok \d+/g)?.length).toBeLessThanOrEqual(10);
  });

  it('on a board opens it again, and runs the command that it broke off once more', async () => {
    const { lab, buildId } = await labWithBoard(memoryGuests.shell);
    await using _lab = lab;
    const deployment = await deployToBoard(lab, buildId);
    let runs = 0;
    lab.shell.commands.set('selftest', async ({ stdout, clock }) => {
      runs += 1;
      await new Promise<void>((resolve) => clock.timer(5_000, resolve));
      await stdout.write('TAP version 13\n1..1\nok 1 works\n');
    });
    const { id } = await lab.testRuns.runTests(deployment.id, {
      from: 'console-shell',
      commands: [{ name: 'selftest', argv: ['selftest'] }],
    });
    while (runs === 0) await lab.clock.advance(500);
    lab.board('board1').line.cut();
    const done = await lab.clock.runUntil(lab.testRuns.waitForTestRun(id));
    expect(done).toMatchObject({ status: 'completed', results: { totals: { total: 1, pass: 1 } } });
    expect(runs).toBe(2);
  });

  it('for good fails with what broke it', async () => {
    const { lab, buildId } = await labWithBoard();
    await using _lab = lab;
    const deployment = await deployToBoard(lab, buildId);
    const { id } = await lab.testRuns.runTests(deployment.id, { from: 'console' });
    await lab.clock.advance(1_000);
    lab.serialConsoles.unreachable.add('/dev/serial/board1');
    lab.board('board1').line.cut();
    expect(await lab.clock.runUntil(lab.testRuns.waitForTestRun(id))).toMatchObject({
      status: 'failed',
      error: { code: 'connection-failed' },
    });
  });
});

describe('a test run that reads what a board prints by itself, whose line has no history,', () => {
  const printsSlowly: MemoryBoot = async (guest) => {
    guest.say(header);
    for (const result of ['ok 1 a', 'ok 2 b', 'ok 3 c']) {
      await guest.sleep(10_000);
      guest.say(`${result}\r\n`);
    }
    await guest.idle();
  };
  const allPassed = { status: 'completed', results: { complete: true, totals: { total: 3, pass: 3 } } };

  async function begun() {
    let boots = 0;
    const { lab, buildId } = await labWithBoard(async (guest) => {
      boots += 1;
      await printsSlowly(guest);
    });
    const deployment = await deployToBoard(lab, buildId);
    expect([deployment.status, boots]).toEqual(['completed', 1]);
    const { id } = await lab.testRuns.runTests(deployment.id, { from: 'console' });
    // One result was printed, and heard.
    while (!(await textOf(lab.testRuns.getTestLogs(id))).includes('ok 1 a')) await lab.clock.advance(1_000);
    return { lab, id, deployment, boots: () => boots };
  }

  it('boots it anew when its process died meanwhile, and has all results of that boot', async () => {
    const { lab, id, deployment, boots } = await begun();
    await lab.crash();
    await lab.clock.advance(10_000);
    await using next = await lab.reopen();
    expect(await next.clock.runUntil(next.testRuns.waitForTestRun(id))).toMatchObject(allPassed);
    expect(boots()).toBe(2);
    expect(next.board('board1').outlet.actual).toBe('on');
    // What runs is not the boot that was verified.
    expect((await next.deployments.getDeploymentStatus(deployment.id)).verification).toBeUndefined();
  });

  it('does so as often as processes die, and does not take results of one boot for those of another', async () => {
    const { lab, id, boots } = await begun();
    await lab.crash();
    await lab.clock.advance(10_000);
    const second = await lab.reopen();
    while (boots() < 2) await second.clock.advance(1_000);
    await second.clock.advance(15_000);
    await second.crash();
    await using third = await second.reopen();
    const done = await third.clock.runUntil(third.testRuns.waitForTestRun(id));
    expect(done).toMatchObject(allPassed);
    expect(done.results?.tests).toHaveLength(3);
    expect(boots()).toBe(3);
  });

  it('boots it anew when the way to its console breaks', async () => {
    const { lab, id, boots } = await begun();
    await using _lab = lab;
    lab.board('board1').line.cut();
    expect(await lab.clock.runUntil(lab.testRuns.waitForTestRun(id))).toMatchObject(allPassed);
    expect(boots()).toBe(2);
  });

  it('leaves it alone when all that was planned has been heard before', async () => {
    const { lab, id, boots } = await begun();
    while (!(await textOf(lab.testRuns.getTestLogs(id))).includes('ok 3 c')) await lab.clock.advance(1_000);
    await lab.crash();
    await using next = await lab.reopen();
    expect(await next.clock.runUntil(next.testRuns.waitForTestRun(id))).toMatchObject(allPassed);
    expect(boots()).toBe(1);
  });

  it('boots it anew when what was heard could not be kept: the database was away', async () => {
    let away = false;
    const onStatement = (sql: string): void => {
      if (away && sql !== 'rollback') throw sqliteError(5, 'database is locked');
    };
    let boots = 0;
    const guest: MemoryBoot = async (machine) => {
      boots += 1;
      machine.say(header);
      await machine.sleep(10_000);
      away = boots === 1;
      machine.say('ok 1 a\r\nok 2 b\r\nok 3 c\r\n');
      await machine.sleep(8_000);
      away = false;
      await machine.idle();
    };
    const { lab, buildId } = await labWithBoard(guest, { process: { onStatement } });
    await using _lab = lab;
    const deployment = await deployToBoard(lab, buildId);
    const { id } = await lab.testRuns.runTests(deployment.id, { from: 'console' });
    while (!away) await lab.clock.advance(1_000);
    while (away) await lab.clock.advance(1_000);
    expect(await lab.clock.runUntil(lab.testRuns.waitForTestRun(id))).toMatchObject(allPassed);
  });

  it('boots it anew when that was begun by a process that died, though this one has listened since its boot', async () => {
    const { lab, buildId } = await labWithBoard(printsSlowly);
    await using _lab = lab;
    const deployment = await deployToBoard(lab, buildId);
    lab.process.stop();
    const other = await lab.join({ name: 'other' });
    const { id } = await other.testRuns.runTests(deployment.id, { from: 'console' });
    const { outlet } = lab.board('board1');
    while (outlet.actual === 'on') await lab.clock.advance(100);
    await other.crash();
    lab.process.resume();
    expect(await lab.clock.runUntil(lab.testRuns.waitForTestRun(id))).toMatchObject(allPassed);
    expect(outlet.actual).toBe('on');
  });

  it('gives it its power back when it is cancelled between off and on', async () => {
    const { lab, id } = await begun();
    await using _lab = lab;
    lab.board('board1').line.cut();
    const { outlet } = lab.board('board1');
    while (outlet.actual === 'on') await lab.clock.advance(100);
    await lab.testRuns.cancelTestRun(id);
    expect(await lab.clock.runUntil(lab.testRuns.waitForTestRun(id))).toMatchObject({ status: 'cancelled' });
    expect(outlet.actual).toBe('on');
  });
});
