import { onAbort } from '../async.ts';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import { BootWatch, bootError, type BootOutcome } from '../consoles/boot-watch.ts';
import { selectSignatures } from '../consoles/signatures.ts';
import type { Hypervisor, VmSpec } from '../contracts/hypervisor.ts';
import { BringupError } from '../errors.ts';
import type { BootPattern, BootReport } from '../model/deployment.ts';
import type { Host } from '../model/resource.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import type { LogStore, LogWriter } from '../work/logs.ts';
import { Reconnects } from '../work/session.ts';
import { bootLogId, deploymentRecord } from './records.ts';
import type { BootInput, BootOutput, DeploymentServices } from './services.ts';

interface Checkpoint {
  /** When the VM was let run, milliseconds since the Unix epoch. */
  readonly startedAt: number;
}

/** A boot that is being watched. */
interface Watched {
  readonly host: Host;
  readonly vm: VmSpec;
  readonly log: LogWriter;
  /** When its time began, milliseconds since the Unix epoch. */
  readonly startedAt: number;
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

/** Lets a deployed VM run and judges from its console whether it booted. */
export class BootHandler implements WorkHandler<BootInput, BootOutput, Checkpoint> {
  readonly kind = 'boot';
  readonly #services: DeploymentServices;
  readonly #artifacts: ArtifactRepository;
  readonly #logs: LogStore;

  constructor(services: DeploymentServices, logs: LogStore) {
    this.#services = services;
    this.#artifacts = services.artifacts;
    this.#logs = logs;
  }

  async run(context: WorkContext<Checkpoint>, input: BootInput): Promise<WorkResult<BootOutput>> {
    const { hostId, vm, releasedAt } = await deploymentRecord(this.#services.store, input.deploymentId);
    if (hostId === undefined || vm === undefined || releasedAt !== undefined) {
      throw new BringupError('conflict', `deployment ${input.deploymentId} has no VM to boot`);
    }
    const host = await this.#services.host(hostId);
    await using log = await context.openLog(bootLogId(context.id));
    const takenOver = context.checkpoint !== undefined;
    await context.phase('booting');
    const startedAt = await this.#start(context, input, host, vm);
    // Nobody listened in between: a boot that is taken over gets its time again.
    const outcome = await this.#watch(context, input, {
      host,
      vm,
      log,
      startedAt: takenOver ? context.clock.now() : startedAt,
    });
    await log.end();
    const report = toReport(outcome, context.clock.now() - startedAt);
    await this.#remember(context, input, report);
    const error = bootError(outcome);
    if (error !== undefined) throw error;
    return { output: { report }, commit: await this.#keep(context, input) };
  }

  /** Lets the VM run, unless it does already. Gives the time it was started. */
  async #start(context: WorkContext<Checkpoint>, input: BootInput, host: Host, vm: VmSpec): Promise<number> {
    const { signal } = context;
    const reconnects = new Reconnects(context.clock, signal);
    for (;;) {
      try {
        await using session = await this.#services.connectors.openHost(host, { signal });
        const startedAt = await this.#ready(context, input, session.hypervisor, vm);
        const state = (await session.hypervisor.getVm(vm.name, { signal }))?.state;
        await context.guard();
        if (state === 'paused') await session.hypervisor.startVm(vm.name, { signal });
        return startedAt;
      } catch (error) {
        await reconnects.pauseAfter(error);
      }
    }
  }

  /**
   * Sees to it that there is a VM to watch: a fresh one for a fresh boot, the one that runs when a
   * boot is taken over.
   */
  async #ready(
    context: WorkContext<Checkpoint>,
    input: BootInput,
    hypervisor: Hypervisor,
    vm: VmSpec,
  ): Promise<number> {
    const { signal } = context;
    const state = (await hypervisor.getVm(vm.name, { signal }))?.state;
    if (context.checkpoint !== undefined) {
      if (state !== undefined) return context.checkpoint.startedAt;
      throw vanished(vm);
    }
    if (state !== 'paused') {
      await context.guard();
      await hypervisor.destroyVm(vm.name, { signal });
      await hypervisor.createVm(vm, { signal });
    }
    const startedAt = context.clock.now();
    await context.transaction(async (tx) => {
      await context.saveIn(tx, { startedAt });
      await tx.db
        .updateTable('deployments')
        .set({ boot_id: context.id, boot: null, boot_verified: 0 })
        .where('id', '=', input.deploymentId)
        .execute();
    });
    return startedAt;
  }

  async #watch(context: WorkContext<Checkpoint>, { boot = {} }: BootInput, target: Watched): Promise<BootOutcome> {
    using watch = new BootWatch({
      success: boot.successPatterns ?? defaultSuccessPatterns,
      signatures: selectSignatures({ drop: boot.ignoreSignatures ?? [] }),
      clock: context.clock,
      signal: context.signal,
      startedAt: target.startedAt,
      ...(boot.timeoutMs !== undefined && { timeoutMs: boot.timeoutMs }),
      ...(boot.silenceMs !== undefined && { silenceMs: boot.silenceMs }),
    });
    // A boot that is taken over: judge what was logged before, too.
    for await (const chunk of this.#logs.read(target.log.logId)) watch.feed(chunk);
    const over = new AbortController();
    const listening = this.#listen(context, watch, target, AbortSignal.any([context.signal, over.signal]));
    try {
      return await Promise.race([watch.outcome, listening.then(() => watch.outcome)]);
    } finally {
      over.abort();
      await listening.catch(() => undefined);
    }
  }

  /** Feeds the watch; a console that breaks off is opened anew at the byte it had reached. */
  async #listen(
    context: WorkContext,
    watch: BootWatch,
    { host, vm, log }: Watched,
    signal: AbortSignal,
  ): Promise<void> {
    const reconnects = new Reconnects(context.clock, signal, ['console-busy']);
    while (!watch.settled) {
      try {
        await using session = await this.#services.connectors.openHost(host, { signal });
        const { hypervisor } = session;
        if ((await hypervisor.getVm(vm.name, { signal })) === undefined) throw vanished(vm);
        await using console = await hypervisor.openConsole(vm.name, { offset: log.sizeBytes, signal });
        using _over = onAbort(signal, () => void console[Symbol.asyncDispose]());
        for await (const chunk of console.output) {
          reconnects.succeeded();
          // Logged before it is judged: what decided must be there to be read.
          await log.append(chunk);
          watch.feed(chunk);
        }
        if (!signal.aborted) watch.end();
      } catch (error) {
        await reconnects.pauseAfter(error);
      }
    }
  }

  async #remember(context: WorkContext, input: BootInput, report: BootReport): Promise<void> {
    await context.transaction(async ({ db }) => {
      await db
        .updateTable('deployments')
        .set({ boot: JSON.stringify(report), boot_verified: report.outcome === 'booted' ? 1 : 0 })
        .where('id', '=', input.deploymentId)
        .execute();
    });
  }

  /** Brings the log into the storage and gives what records it as an artifact. */
  async #keep(context: WorkContext, input: BootInput): Promise<NonNullable<WorkResult<BootOutput>['commit']>> {
    const blob = await this.#artifacts.put(context.id, () => this.#logs.read(bootLogId(context.id)));
    const { buildId, vm } = await deploymentRecord(this.#services.store, input.deploymentId);
    const origin = {
      producerId: context.id,
      architecture: vm?.architecture ?? 'x86_64',
      metadata: { deployment: input.deploymentId },
      ...(buildId !== undefined && { buildId }),
    };
    return async (tx) => {
      await this.#artifacts.record(tx, origin, [{ type: 'boot_log', filename: 'boot.log', ...blob }]);
    };
  }

  /** However a boot went, its log is kept. */
  async cleanUp(context: WorkContext<Checkpoint>, input: BootInput): Promise<void> {
    if (context.checkpoint === undefined) return;
    await using log = await context.openLog(bootLogId(context.id));
    await log.end();
    await context.transaction(await this.#keep(context, input));
  }
}

function vanished(vm: VmSpec): BringupError {
  return new BringupError('process-lost', `the VM ${vm.name} vanished from its host while it booted`, {
    retryable: true,
    details: { vm: vm.name },
  });
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
