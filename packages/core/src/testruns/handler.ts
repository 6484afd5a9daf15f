import type { NewArtifact } from '../artifacts/records.ts';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import { Cleanup } from '../cleanup.ts';
import type { FailureReport } from '../consoles/failure-report.ts';
import { bootLogId, bootLogStart, placedDeployment, type PlacedDeployment } from '../deployments/records.ts';
import type { DeploymentTarget, HeardConsole } from '../deployments/target.ts';
import type { Console } from '../contracts/console.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { BringupError, fromStoredError, isBringupError, type StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DeploymentTargetType } from '../model/deployment.ts';
import type { Board, Connection } from '../model/resource.ts';
import type { RemoteTests, ShellTests, TestCommand, TestConfig } from '../model/test-run.ts';
import type { Connectors } from '../pool/connectors.ts';
import { recoverHungBoard } from '../power/recovery.ts';
import type { Store } from '../store/store.ts';
import { followDetached, startDetached, stopDetached } from '../work/detached.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import type { LogStore, LogWriter } from '../work/logs.ts';
import { Reconnects, SessionHolder } from '../work/session.ts';
import { combineResults, commandResult } from './command-results.ts';
import { ConsoleShells } from './console-shells.ts';
import { readConsoleResults, type ConsoleResults } from './console-results.ts';
import { toJUnitXml } from './junit.ts';
import { countedTests, isBadOutcome, type TestReport, type TestTotals } from './test-report.ts';

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

type CommandResult = ReturnType<typeof commandResult>;

/** How a command ended. */
interface CommandEnd {
  readonly exitCode: number;
  readonly output: string;
}

interface Checkpoint {
  /** Results of the commands that are done. */
  readonly done: readonly CommandResult[];
  /** Where the output of the command that runs now begins in the log. */
  readonly logStart?: number;
  /** Where what the board said since it was booted anew for these tests begins in the log. */
  readonly heardFrom?: number;
  /** It is being booted anew: it may be without power. */
  readonly restarting?: boolean;
  /** The board hung: what it will have failed with once the board was dealt with. */
  readonly hung?: StoredError;
}

/** Id of a test run's log. */
export function testLogId(testRunId: string): string {
  return `testrun/${testRunId}`;
}

/** Runs tests on a booted target and understands what they print. */
export class TestRunHandler implements WorkHandler<TestRunInput, TestRunOutput, Checkpoint> {
  readonly kind = 'testrun';
  readonly #services: TestRunServices;

  constructor(services: TestRunServices) {
    this.#services = services;
  }

  async run(context: WorkContext<Checkpoint>, input: TestRunInput): Promise<WorkResult<TestRunOutput>> {
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
    context: WorkContext<Checkpoint>,
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
    context: WorkContext<Checkpoint>,
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
    context: WorkContext<Checkpoint>,
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
    context: WorkContext<Checkpoint>,
    tests: TestConfig,
    deployment: PlacedDeployment,
    log: LogWriter,
    signal: AbortSignal,
  ): Promise<ConsoleResults> {
    if (tests.from === 'shell') return { report: await this.#remoteTests(context, tests, deployment, log, signal) };
    const { logs, store, targets } = this.#services;
    const target = targets[deployment.targetType];
    const bootLog = bootLogId(deployment.bootId ?? '');
    const start = deployment.bootId === undefined ? 0 : await bootLogStart(store, deployment.bootId);
    const booted = ((await logs.stat(bootLog))?.sizeBytes ?? 0) - start;
    if (tests.from === 'console-shell') {
      const open = (): Promise<Console> => target.openConsole(deployment, booted + log.sizeBytes, { signal });
      return { report: await this.#shellTests(context, tests, open, log, signal) };
    }
    const save = (change: Partial<Checkpoint>): Promise<void> =>
      context.save({ done: [], ...context.checkpoint, ...change });
    const open = async (complete: boolean): Promise<HeardConsole> => {
      const restarting = async (): Promise<boolean> => {
        if (!complete) await save({ restarting: true, heardFrom: log.sizeBytes });
        return !complete;
      };
      const heard = await target.hear(context, deployment, booted + log.sizeBytes, restarting, { signal });
      await using opened = new Cleanup();
      opened.use(heard.console);
      if (heard.anew) await save({ restarting: false });
      opened.move();
      return heard;
    };
    const results = await readConsoleResults({
      config: tests,
      open,
      clock: context.clock,
      signal,
      before: this.#consoleSoFar(bootLog, start, log, context.checkpoint?.heardFrom),
      keep: (bytes) => log.append(bytes),
    });
    context.signal.throwIfAborted();
    return results;
  }

  async *#consoleSoFar(
    bootLog: string,
    start: number,
    { logId }: LogWriter,
    heardFrom: number | undefined,
  ): AsyncIterable<Uint8Array> {
    if (heardFrom === undefined) yield* this.#services.logs.read(bootLog, { offset: start });
    yield* this.#services.logs.read(logId, { offset: heardFrom ?? 0 });
  }

  /** Runs the commands on the console; one whose console broke off is run again on a new one. */
  async #shellTests(
    context: WorkContext<Checkpoint>,
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
    context: WorkContext<Checkpoint>,
    tests: RemoteTests,
    deployment: PlacedDeployment,
    log: LogWriter,
    signal: AbortSignal,
  ): Promise<TestReport> {
    const { clock } = context;
    const remote = await this.#remote(tests, deployment);
    await using sessions = new SessionHolder(() => this.#services.connectors.openShell(remote, { signal }), {
      clock,
      signal,
    });
    const clear = (index: number): Promise<void> =>
      sessions.run((session) => endRemote(session, remoteFolder(context.id, index), signal));
    const run = async (command: TestCommand, index: number): Promise<CommandEnd> => {
      const folder = remoteFolder(context.id, index);
      const logStart = context.checkpoint?.logStart ?? log.sizeBytes;
      await context.save({ done: [], ...context.checkpoint, logStart });
      await sessions.run((session) => startDetached(session, folder, command.argv, { signal }));
      const exitCode = await followDetached({
        connect: () => sessions.get(),
        folder,
        offset: log.sizeBytes - logStart,
        signal,
        clock,
        onBytes: (bytes) => log.append(bytes),
      });
      await log.flush();
      return { exitCode, output: await this.#logFrom(log.logId, logStart) };
    };
    return await this.#eachCommand(context, tests.commands, run, clear);
  }

  async #logFrom(logId: string, offset: number): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of this.#services.logs.read(logId, { offset })) {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes > limits.execMaxOutputBytes) break;
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  /** Ends what still runs on a target that was reached by its shell. */
  async cleanUp(
    context: WorkContext<Checkpoint>,
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
    for (const index of [done - 1, done])
      if (index >= 0) await endRemote(session, remoteFolder(context.id, index), signal);
  }

  /** Each is run once: what is left of it is cleared away only when its result is stored. */
  async #eachCommand(
    context: WorkContext<Checkpoint>,
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

function remoteFolder(testRunId: string, index: number): string {
  return `/tmp/bringup-${testRunId}-${index}`;
}

async function endRemote(session: ShellSession, folder: string, signal: AbortSignal): Promise<void> {
  await stopDetached(session, folder, { signal });
  await session.exec(['rm', '-rf', '--', folder], { signal });
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
