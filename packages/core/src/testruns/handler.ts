import type { NewArtifact } from '../artifacts/records.ts';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { FailureReport } from '../consoles/failure-report.ts';
import { placedDeployment, type PlacedDeployment } from '../deployments/records.ts';
import type { DeploymentTarget } from '../deployments/target.ts';
import type { Console } from '../contracts/console.ts';
import { BringupError, fromStoredError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DeploymentTargetType } from '../model/deployment.ts';
import type { Board, Connection } from '../model/resource.ts';
import type { RemoteTests, ShellTests, TestCommand, TestConfig } from '../model/test-run.ts';
import type { Connectors } from '../pool/connectors.ts';
import { recoverHungBoard } from '../power/recovery.ts';
import type { Store } from '../store/store.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import type { LogStore, LogWriter } from '../work/logs.ts';
import { Reconnects } from '../work/session.ts';
import type { TestRunCheckpoint } from './checkpoint.ts';
import { combineResults, commandResult, type CommandEnd } from './command-results.ts';
import { ConsoleShells } from './console-shells.ts';
import { readConsoleResults, type ConsoleResults } from './console-results.ts';
import { toJUnitXml } from './junit.ts';
import { clearRemote, RemoteCommands } from './remote-commands.ts';
import { countedTests, isBadOutcome, type TestReport, type TestTotals } from './test-report.ts';
import { TestedConsole } from './tested-console.ts';

/** What test runs work with. */
export interface TestRunServices {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly artifacts: ArtifactRepository;
  readonly logs: LogStore;
  readonly targets: Readonly<Record<DeploymentTargetType, DeploymentTarget>>;
  readonly board: (id: string) => Promise<Board>;
}

/** A test run as it is queued. */
export interface TestRunInput {
  readonly deploymentId: string;
  readonly tests: TestConfig;
}

/** What a test run without failures gives. */
export interface TestRunOutput {
  readonly totals: TestTotals;
}

/** Id of a test run's log. */
export function testLogId(testRunId: string): string {
  return `testrun/${testRunId}`;
}

/** Runs tests on a booted target and understands what they print. */
export class TestRunHandler implements WorkHandler<TestRunInput, TestRunOutput, TestRunCheckpoint> {
  readonly kind = 'testrun';
  readonly #services: TestRunServices;

  constructor(services: TestRunServices) {
    this.#services = services;
  }

  async run(context: WorkContext<TestRunCheckpoint>, input: TestRunInput): Promise<WorkResult<TestRunOutput>> {
    const deployment = await placedDeployment(this.#services.store, input.deploymentId);
    const { hung } = context.checkpoint ?? {};
    if (hung !== undefined) throw await this.#afterHang(context, input, deployment, fromStoredError(hung));
    await using log = await context.openLog(testLogId(context.id));
    const { report, kernelFailure, overdue } = await this.#report(context, input.tests, deployment, log).catch(
      async (error: unknown) => {
        if (!isBringupError(error, 'deadline-exceeded')) throw error;
        await log.end();
        throw await this.#ended(context, input, deployment, error);
      },
    );
    await log.end();
    const files = await this.#files(context, report);
    const origin = {
      producerId: context.id,
      architecture: deployment.architecture,
      metadata: { deployment: input.deploymentId },
      ...(deployment.buildId !== undefined && { buildId: deployment.buildId }),
    };
    // Kept before the verdict: results of failed tests are wanted most.
    await context.transaction(async (tx) => {
      await this.#services.artifacts.record(tx, origin, files);
      await tx.db
        .updateTable('test_runs')
        .set({ results: JSON.stringify(report) })
        .where('id', '=', context.id)
        .execute();
    });
    const failure = verdict(report, kernelFailure);
    if (failure !== undefined) throw overdue ? await this.#ended(context, input, deployment, failure) : failure;
    return { output: { totals: report.totals } };
  }

  /** Gives what tests fail with that did not end in time; a board that hangs is dealt with first. */
  async #ended(
    context: WorkContext<TestRunCheckpoint>,
    input: TestRunInput,
    deployment: PlacedDeployment,
    error: BringupError,
  ): Promise<BringupError> {
    if (deployment.targetType !== 'physical_board') return error;
    await context.save({ done: [], ...context.checkpoint, hung: error.toJSON() });
    return this.#afterHang(context, input, deployment, error);
  }

  /** Has a board that hung power-cycled, as the policy says. Gives what the test run fails with. */
  async #afterHang(
    context: WorkContext<TestRunCheckpoint>,
    { tests }: TestRunInput,
    { targetId, reservationId }: PlacedDeployment,
    error: BringupError,
  ): Promise<BringupError> {
    const holding = await this.#services.store.db
      .selectFrom('reservations')
      .select('holder')
      .where('id', '=', reservationId ?? '')
      .executeTakeFirst();
    try {
      await recoverHungBoard(context, {
        boardId: targetId,
        reason: error.message,
        policy: tests.hangPolicy ?? 'power-cycle',
        holder: holding?.holder ?? context.id,
        key: 'hang',
      });
    } catch (failure) {
      if (!isBringupError(failure)) throw failure;
      // The board needs a person, who has been told; the tests have failed all the same.
      context.logger.warn({ error: failure, board: targetId }, 'a board that hung could not be brought back');
    }
    return error;
  }

  async #report(
    context: WorkContext<TestRunCheckpoint>,
    tests: TestConfig,
    deployment: PlacedDeployment,
    log: LogWriter,
  ): Promise<ConsoleResults & { readonly overdue: boolean }> {
    const { clock } = context;
    await context.phase('testing');
    const timer = new AbortController();
    using _timeout = clock.timer(tests.timeoutMs ?? limits.testTimeoutMs, () =>
      timer.abort(
        new BringupError(
          'deadline-exceeded',
          `the tests took longer than ${tests.timeoutMs ?? limits.testTimeoutMs} ms`,
        ),
      ),
    );
    const signal = AbortSignal.any([context.signal, timer.signal]);
    try {
      const results = await this.#results(context, tests, deployment, log, signal);
      return { ...results, overdue: timer.signal.aborted };
    } catch (error) {
      context.signal.throwIfAborted();
      // What was aborted in the middle by the time-out is overdue, not cancelled.
      throw timer.signal.aborted ? timer.signal.reason : error;
    }
  }

  async #results(
    context: WorkContext<TestRunCheckpoint>,
    tests: TestConfig,
    deployment: PlacedDeployment,
    log: LogWriter,
    signal: AbortSignal,
  ): Promise<ConsoleResults> {
    if (tests.from === 'shell') return { report: await this.#remoteTests(context, tests, deployment, log, signal) };
    const console = await TestedConsole.of(this.#services, {
      context,
      target: this.#services.targets[deployment.targetType],
      deployment,
      log,
      signal,
    });
    if (tests.from === 'console-shell') {
      return { report: await this.#shellTests(context, tests, () => console.open(), log, signal) };
    }
    const results = await readConsoleResults({
      config: tests,
      open: (complete) => console.hear(complete),
      clock: context.clock,
      signal,
      before: console.soFar(),
      keep: (bytes) => log.append(bytes),
    });
    context.signal.throwIfAborted();
    return results;
  }

  /** Runs the commands on the console; one whose console broke off is run again on a new one. */
  async #shellTests(
    context: WorkContext<TestRunCheckpoint>,
    tests: ShellTests,
    open: () => Promise<Console>,
    log: LogWriter,
    signal: AbortSignal,
  ): Promise<TestReport> {
    const reconnects = new Reconnects(context.clock, signal, ['console-busy']);
    await using shells = new ConsoleShells(open, { clock: context.clock, signal, log, user: tests.username ?? 'root' });
    return await this.#eachCommand(context, tests.commands, async (command) => {
      for (;;) {
        try {
          const shell = await shells.get();
          const { exitCode, output } = await shell.run(command.argv, { signal, timeoutMs: limits.testTimeoutMs });
          reconnects.succeeded();
          return { exitCode, output };
        } catch (error) {
          // A command that takes too long is no broken console.
          if (!isBringupError(error, 'connection-lost', 'connection-failed', 'console-busy')) throw error;
          await shells.close();
          await reconnects.pauseAfter(error);
        }
      }
    });
  }

  /** Where the commands are run: where it was said, else on the board itself. */
  async #remote({ target }: RemoteTests, deployment: PlacedDeployment): Promise<Connection> {
    if (target !== undefined) return target;
    const board =
      deployment.targetType === 'physical_board' ? await this.#services.board(deployment.targetId) : undefined;
    if (board?.hostname !== undefined) return { ...board, hostname: board.hostname };
    throw new BringupError(
      'unsupported',
      `deployment ${deployment.id} has no shell of its own; say with 'target' where it listens`,
    );
  }

  async #remoteTests(
    context: WorkContext<TestRunCheckpoint>,
    tests: RemoteTests,
    deployment: PlacedDeployment,
    log: LogWriter,
    signal: AbortSignal,
  ): Promise<TestReport> {
    const { connectors, logs } = this.#services;
    const remote = await this.#remote(tests, deployment);
    await using commands = new RemoteCommands({ context, connectors, logs, remote, log, signal });
    return await this.#eachCommand(
      context,
      tests.commands,
      (command, index) => commands.run(command, index),
      (index) => commands.clear(index),
    );
  }

  /** Ends what still runs on a target that was reached by its shell. */
  async cleanUp(
    context: WorkContext<TestRunCheckpoint>,
    { tests, deploymentId }: TestRunInput,
    _error: BringupError,
    signal: AbortSignal,
  ): Promise<void> {
    await using log = await context.openLog(testLogId(context.id));
    await log.end();
    const deployment = await placedDeployment(this.#services.store, deploymentId);
    if (context.checkpoint?.restarting === true) {
      await this.#services.targets[deployment.targetType].abandonBoot?.(context, deployment, signal);
    }
    if (tests.from !== 'shell') return;
    const remote = await this.#remote(tests, deployment);
    await using session = await this.#services.connectors.openShell(remote, { signal });
    const done = context.checkpoint?.done.length ?? 0;
    // The one before may not have been cleared away.
    for (const index of [done - 1, done]) if (index >= 0) await clearRemote(session, context.id, index, signal);
  }

  /** Each is run once: what is left of it is cleared away only when its result is stored. */
  async #eachCommand(
    context: WorkContext<TestRunCheckpoint>,
    commands: readonly TestCommand[],
    run: (command: TestCommand, index: number) => Promise<CommandEnd>,
    clear?: (index: number) => Promise<void>,
  ): Promise<TestReport> {
    const done = [...(context.checkpoint?.done ?? [])];
    // Whoever stored the last result may have died of it.
    if (done.length > 0) await clear?.(done.length - 1);
    for (const [index, command] of commands.entries()) {
      if (index < done.length) continue;
      const startedAt = context.clock.now();
      const result = await run(command, index);
      done.push(commandResult(command, { ...result, durationSeconds: (context.clock.now() - startedAt) / 1000 }));
      await context.save({ done });
      await clear?.(index);
    }
    return combineResults(done);
  }

  async #files(context: WorkContext, report: TestReport): Promise<NewArtifact[]> {
    const { artifacts, logs } = this.#services;
    const put = async (filename: string, text: string): Promise<NewArtifact> => ({
      type: 'test_results',
      filename,
      ...(await artifacts.put(context.id, () => once(Buffer.from(text)))),
    });
    return [
      await put('results.json', `${JSON.stringify(report, undefined, 2)}\n`),
      await put('junit.xml', toJUnitXml(report)),
      {
        type: 'other',
        filename: 'test.log',
        ...(await artifacts.put(context.id, () => logs.read(testLogId(context.id)))),
      },
    ];
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** Why a run counts as failed; undefined when every planned test ran, none failed and the kernel held. */
function verdict(report: TestReport, kernelFailure: FailureReport | undefined): BringupError | undefined {
  const { totals } = report;
  const failed = [...countedTests(report.tests)]
    .filter(({ node }) => isBadOutcome(node.outcome))
    .map(({ node, path }) => [...path, node.name].join('/'))
    .slice(0, limits.errorLines);
  const details = {
    totals: { ...totals },
    failed,
    errors: report.errors,
    ...(kernelFailure !== undefined && {
      signature: kernelFailure.signature,
      kind: kernelFailure.kind,
      excerpt: kernelFailure.lines,
    }),
  };
  if (kernelFailure !== undefined) {
    const message = `the kernel failed during the tests (${kernelFailure.signature}): ${kernelFailure.title}`;
    return new BringupError('tests-failed', message, { details });
  }
  if (failed.length > 0) {
    const count = totals.fail + totals.error + totals.timeout + totals.missing;
    return new BringupError('tests-failed', `${count} of ${totals.total} tests failed: ${failed.join(', ')}`, {
      details,
    });
  }
  if (report.complete && totals.total > 0) return undefined;
  const why = totals.total === 0 ? 'no test results were printed' : (report.errors[0] ?? 'results are missing');
  return new BringupError('tests-incomplete', `the tests did not run to their end: ${why}`, { details });
}
