import { elapsedSince, onAbort, sleep } from '../async.ts';
import { Cleanup } from '../cleanup.ts';
import { BootWatch, bootError, type BootOutcome } from '../consoles/boot-watch.ts';
import { selectSignatures } from '../consoles/signatures.ts';
import { isBringupError, type BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BootPattern, BootReport, DeploymentTargetType, VerificationReport } from '../model/deployment.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import type { LogStore, LogWriter } from '../work/logs.ts';
import { Reconnects } from '../work/session.ts';
import { lastKnownGood, offerRollback } from './known-good.ts';
import { bootLogId, deploymentRecord, placedDeployment, type PlacedDeployment } from './records.ts';
import type { BootInput, BootOutput, DeploymentServices } from './services.ts';
import type { BootCheckpoint, DeploymentTarget, StartedBoot } from './target.ts';

type Context = WorkContext<BootCheckpoint>;

/** A boot that is being watched. */
interface Watched {
  readonly target: DeploymentTarget;
  readonly deployment: PlacedDeployment;
  readonly log: LogWriter;
  readonly started: StartedBoot;
  /** When its time began, milliseconds since the Unix epoch. */
  readonly since: number;
}

/**
 * What a userspace or a test image says first. The kernel's own "Run /init as init process" is no
 * sign of one: it says so before it tries.
 */
export const defaultSuccessPatterns: readonly BootPattern[] = [
  { regex: '^\\s*K?TAP version \\d+' },
  { regex: '\\blogin: ?$' },
  { regex: '^(?:\\S+ )?[#$] $' },
];

/**
 * Lets a deployed machine run and judges from its console whether it booted; a board that has none is
 * judged by its shell, which answers with a new boot id.
 */
export class BootHandler implements WorkHandler<BootInput, BootOutput, BootCheckpoint> {
  readonly kind = 'boot';
  readonly #services: DeploymentServices;
  readonly #logs: LogStore;
  readonly #targets: Readonly<Record<DeploymentTargetType, DeploymentTarget>>;

  constructor(
    services: DeploymentServices,
    logs: LogStore,
    targets: Readonly<Record<DeploymentTargetType, DeploymentTarget>>,
  ) {
    this.#services = services;
    this.#logs = logs;
    this.#targets = targets;
  }

  async run(context: Context, input: BootInput): Promise<WorkResult<BootOutput>> {
    const deployment = await placedDeployment(this.#services.store, input.deploymentId);
    const target = this.#targets[deployment.targetType];
    await using log = await context.openLog(bootLogId(context.id));
    const takenOver = context.checkpoint !== undefined;
    await context.phase('booting');
    const outcome =
      (await target.judgedBy(deployment)) === 'console'
        ? await this.#byConsole(context, input, { target, deployment, log }, takenOver)
        : await this.#byShell(context, input, target, deployment, log);
    await log.end();
    const startedAt = context.checkpoint?.startedAt ?? context.clock.now();
    const report = toReport(outcome, context.clock.now() - startedAt);
    await this.#remember(context, deployment, report);
    const error = bootError(outcome);
    if (error !== undefined) throw offerRollback(error, await lastKnownGood(this.#services.store, deployment));
    await this.#noteBootId(context, target, deployment);
    const keep = await this.#keep(context, input);
    return {
      output: { report },
      commit: async (tx) => {
        await keep(tx);
        if (deployment.targetType !== 'physical_board') return;
        await tx.db
          .updateTable('resources')
          .set({ good_deployment_id: deployment.id })
          .where('id', '=', deployment.targetId)
          .execute();
      },
    };
  }

  async #start(
    context: Context,
    target: DeploymentTarget,
    deployment: PlacedDeployment,
    log: LogWriter,
  ): Promise<StartedBoot> {
    const reconnects = new Reconnects(context.clock, context.signal, ['console-busy']);
    for (;;) {
      try {
        return await target.startBoot(context, deployment, log, (started) =>
          context.transaction(async (tx) => {
            await context.saveIn(tx, started);
            await tx.db
              .updateTable('deployments')
              .set({ boot_id: context.id, boot: null, boot_verified: 0, verification: null })
              .where('id', '=', deployment.id)
              .execute();
          }),
        );
      } catch (error) {
        await reconnects.pauseAfter(error);
      }
    }
  }

  /** Boots it until it was listened to all the time, or as long as the way to its console may break. */
  async #byConsole(
    context: Context,
    input: BootInput,
    watched: Omit<Watched, 'started' | 'since'>,
    takenOver: boolean,
  ): Promise<BootOutcome> {
    const breaks = new Reconnects(context.clock, context.signal, ['console-busy']);
    for (let again = takenOver; ; again = true) {
      const started = await this.#start(context, watched.target, watched.deployment, watched.log);
      // Nobody listened in between: a boot that is taken over gets its time again.
      const since = again ? context.clock.now() : started.startedAt;
      try {
        return await this.#watch(context, input, { ...watched, started, since });
      } catch (error) {
        if (watched.target.hasConsoleHistory) throw error;
        await breaks.pauseAfter(error);
      }
    }
  }

  async #watch(context: Context, { boot = {} }: BootInput, watched: Watched): Promise<BootOutcome> {
    const { started, since, log } = watched;
    await using held = new Cleanup();
    // Whatever goes wrong before it is listened to: whoever takes this boot over needs it.
    if (started.console !== undefined) held.use(started.console);
    using watch = new BootWatch({
      success: boot.successPatterns ?? defaultSuccessPatterns,
      signatures: selectSignatures({ drop: boot.ignoreSignatures ?? [] }),
      clock: context.clock,
      signal: context.signal,
      startedAt: since,
      ...(boot.timeoutMs !== undefined && { timeoutMs: boot.timeoutMs }),
      ...(boot.silenceMs !== undefined && { silenceMs: boot.silenceMs }),
    });
    // A boot that is taken over: judge what was logged of it before, too.
    for await (const chunk of this.#logs.read(log.logId, { offset: started.logStart })) watch.feed(chunk);
    const over = new AbortController();
    const signal = AbortSignal.any([context.signal, over.signal]);
    const listening = this.#listen(context, watch, watched, signal);
    try {
      return await Promise.race([watch.outcome, listening.then(() => watch.outcome)]);
    } finally {
      over.abort();
      await listening.catch(() => undefined);
    }
  }

  /**
   * Feeds the watch; a console that breaks off is opened anew at the byte it had reached.
   * @throws what broke it where it has no history, or there was too much of that.
   */
  async #listen(context: Context, watch: BootWatch, watched: Watched, signal: AbortSignal): Promise<void> {
    const { target, deployment, log, started } = watched;
    const reconnects = new Reconnects(context.clock, signal, ['console-busy']);
    let opened = started.console;
    while (!watch.settled) {
      try {
        await using console =
          opened ?? (await target.openConsole(deployment, log.sizeBytes - started.logStart, { signal }));
        opened = undefined;
        using _over = onAbort(signal, () => void console[Symbol.asyncDispose]());
        for await (const chunk of console.output) {
          reconnects.succeeded();
          // Logged before it is judged: what decided must be there to be read.
          await log.append(chunk);
          watch.feed(chunk);
        }
        if (!signal.aborted) watch.end();
      } catch (error) {
        // What was said in between may have decided it.
        if (!target.hasConsoleHistory) throw error;
        await reconnects.pauseAfter(error);
      }
    }
  }

  /** Waits until the shell answers from a new boot; a board that does not is given another chance. */
  async #byShell(
    context: Context,
    { boot = {} }: BootInput,
    target: DeploymentTarget,
    deployment: PlacedDeployment,
    log: LogWriter,
  ): Promise<BootOutcome> {
    const { clock, signal } = context;
    for (;;) {
      const started = await this.#start(context, target, deployment, log);
      await context.phase('verifying');
      const timeoutMs = boot.timeoutMs ?? limits.bootTimeoutMs;
      const elapsed = elapsedSince(clock, started.startedAt);
      while (elapsed() < timeoutMs) {
        const id = await target
          .bootId(deployment, { signal, timeoutMs: Math.max(1, timeoutMs - elapsed()) })
          .catch(() => undefined);
        signal.throwIfAborted();
        if (id !== undefined && id !== started.bootIdBefore) {
          const facts = { bytes: 0, elapsedMs: elapsed(), warnings: [] };
          return { ...facts, type: 'booted', pattern: 'boot id', line: id, offset: 0 };
        }
        await sleep(clock, limits.shellPollMs, signal);
      }
      const failures = (started.failures ?? 0) + 1;
      const { console: _none, ...reached } = started;
      await context.save({ ...reached, failures });
      if (failures > limits.shellBootRetries) {
        const lastLine = `its shell did not answer from a new boot after ${failures} power cycles`;
        return { type: 'timeout', lastLine, bytes: 0, elapsedMs: elapsed(), warnings: [] };
      }
    }
  }

  /** Which boot it was that booted, where a shell can tell: a later one is not what was verified. */
  async #noteBootId(context: Context, target: DeploymentTarget, deployment: PlacedDeployment): Promise<void> {
    const { signal } = context;
    const bootId = await target.bootId(deployment, { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!isBringupError(error)) throw error;
      return undefined;
    });
    if (bootId === undefined) return;
    const at = context.clock.now();
    const seen: VerificationReport = { verified: true, checks: [], attempts: 1, at, bootId };
    await context.transaction(async ({ db }) => {
      await db
        .updateTable('deployments')
        .set({ verification: JSON.stringify(seen) })
        .where('id', '=', deployment.id)
        .execute();
    });
  }

  async #remember(context: Context, deployment: PlacedDeployment, report: BootReport): Promise<void> {
    await context.transaction(async ({ db }) => {
      await db
        .updateTable('deployments')
        .set({ boot: JSON.stringify(report), boot_verified: report.outcome === 'booted' ? 1 : 0 })
        .where('id', '=', deployment.id)
        .execute();
    });
  }

  /** Brings the log into the storage and gives what records it as an artifact. */
  async #keep(context: Context, input: BootInput): Promise<NonNullable<WorkResult<BootOutput>['commit']>> {
    const { artifacts, store } = this.#services;
    const blob = await artifacts.put(context.id, () => this.#logs.read(bootLogId(context.id)));
    const { buildId, architecture } = await deploymentRecord(store, input.deploymentId);
    const origin = {
      producerId: context.id,
      architecture: architecture ?? 'x86_64',
      metadata: { deployment: input.deploymentId },
      ...(buildId !== undefined && { buildId }),
    };
    return async (tx) => {
      await artifacts.record(tx, origin, [{ type: 'boot_log', filename: 'boot.log', ...blob }]);
    };
  }

  /** However a boot went, its log is kept, and its machine is left as it can be used. */
  async cleanUp(context: Context, input: BootInput, _error: BringupError, signal: AbortSignal): Promise<void> {
    const deployment = await placedDeployment(this.#services.store, input.deploymentId);
    try {
      await this.#targets[deployment.targetType].abandonBoot?.(context, deployment, signal);
    } finally {
      await this.#keepLog(context, input);
    }
  }

  async #keepLog(context: Context, input: BootInput): Promise<void> {
    if (context.checkpoint === undefined) return;
    await using log = await context.openLog(bootLogId(context.id));
    await log.end();
    await context.transaction(await this.#keep(context, input));
  }
}

function toReport(outcome: BootOutcome, durationMs: number): BootReport {
  const facts = { durationMs, consoleBytes: outcome.bytes, warnings: outcome.warnings.map((warning) => warning.title) };
  switch (outcome.type) {
    case 'booted':
      return { ...facts, outcome: 'booted', matched: outcome.pattern, excerpt: [outcome.line] };
    case 'failed':
      return { ...facts, outcome: 'failed', matched: outcome.report.signature, excerpt: outcome.report.lines };
    case 'timeout':
    case 'ended':
      return { ...facts, outcome: outcome.type, excerpt: [outcome.lastLine] };
    case 'silent':
      return { ...facts, outcome: 'silent', excerpt: [] };
  }
}
