import { sleep } from '../async.ts';
import { Cleanup } from '../cleanup.ts';
import type { Console } from '../contracts/console.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { BringupError, fromStoredError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Artifact } from '../model/artifact.ts';
import type { VerificationCheck } from '../model/deployment.ts';
import type { Board, Connection } from '../model/resource.ts';
import { fullSequence } from '../pool/power-sequence.ts';
import { givePowerBack, switchRecorded, type RecordedPower } from '../power/recorded.ts';
import { boardRequest } from '../selection/requests.ts';
import type { WorkContext } from '../work/handler.ts';
import type { LogWriter } from '../work/logs.ts';
import { insertFlash, type FlashInput } from './flash-records.ts';
import { flashParts, planFlash, type PlannedPart } from './flash-plan.ts';
import { KeptConsoles } from './kept-consoles.ts';
import type { DeploymentInput, PlacedDeployment } from './records.ts';
import type { DeploymentServices } from './services.ts';
import type {
  BootCheckpoint,
  DeploymentCheckpoint,
  DeploymentPlan,
  DeploymentTarget,
  HeardConsole,
  HearOptions,
  HeldTarget,
  ProvisionedPlace,
  StartedBoot,
} from './target.ts';

type BoardInput = Extract<DeploymentInput, { readonly targetType: 'physical_board' }>;

type Context = WorkContext<BootCheckpoint>;

interface BoardPlan extends DeploymentPlan {
  readonly parts: readonly PlannedPart[];
}

/** Where Linux tells one boot from the next. */
const bootIdPath = '/proc/sys/kernel/random/boot_id';

/** Boards: files are flashed, and the power is cycled with somebody listening from the first byte on. */
export class BoardTarget implements DeploymentTarget, AsyncDisposable {
  readonly type = 'physical_board';
  readonly hasConsoleHistory = false;
  readonly #services: DeploymentServices;
  readonly #consoles: KeptConsoles;

  constructor(services: DeploymentServices) {
    this.#services = services;
    this.#consoles = new KeptConsoles(services.clock);
  }

  plan(
    input: BoardInput,
    chosen: { readonly buildId: string; readonly commitHash: string | undefined },
    built: readonly Artifact[],
    extra: readonly Artifact[],
  ): BoardPlan {
    const { architecture, parts } = planFlash(built, extra, input.slots, input.architecture);
    const artifacts = parts.map(({ artifact }) => artifact);
    return { ...chosen, architecture, artifacts, parts, request: boardRequest({ ...input, architecture }) };
  }

  async provision(
    context: WorkContext<DeploymentCheckpoint>,
    input: BoardInput,
    plan: BoardPlan,
    held: HeldTarget,
  ): Promise<void> {
    await context.phase('flashing');
    // A station may flash over the console itself, and what the old firmware still says is of no use.
    await this.#consoles.drop(held.targetId);
    const flash: FlashInput = {
      boardId: held.targetId,
      deploymentId: context.id,
      reservationId: held.reservationId,
      parts: flashParts(plan.parts),
      firmwareVersion: input.firmwareVersion ?? plan.commitHash ?? plan.buildId,
      buildId: plan.buildId,
      ...(plan.commitHash !== undefined && { commitHash: plan.commitHash }),
    };
    const key = `flash-${context.checkpoint?.tried.length ?? 0}`;
    const { error } = await context.child<FlashInput, unknown>(key, 'flash', flash, {
      prepare: (tx, id) => insertFlash(tx, id, flash),
    });
    if (error !== undefined) throw fromStoredError(error);
  }

  /** What is flashed stays: only its console is let go of. */
  async dismantle(_context: WorkContext<unknown>, { targetId }: ProvisionedPlace): Promise<void> {
    await this.#consoles.drop(targetId);
  }

  /** Lets go of a board's console that is only kept for whoever goes on with it. */
  freeConsole(boardId: string): Promise<void> {
    return this.#consoles.free(boardId);
  }

  /** Lets go of all consoles. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#consoles[Symbol.asyncDispose]();
  }

  async judgedBy({ targetId }: PlacedDeployment): Promise<'console' | 'shell'> {
    const board = await this.#services.board(targetId);
    if (board.serialDevice !== undefined) return 'console';
    if (board.hostname !== undefined) return 'shell';
    throw new BringupError(
      'unsupported',
      `board ${board.name} has neither a console nor a shell to tell whether it booted`,
    );
  }

  async startBoot(
    context: Context,
    deployment: PlacedDeployment,
    log: LogWriter,
    remember: (started: BootCheckpoint) => Promise<void>,
  ): Promise<StartedBoot> {
    const { signal, clock } = context;
    const board = await this.#services.board(deployment.targetId);
    const known = context.checkpoint?.bootIdBefore ?? (await this.#bootIdOf(board, { signal }).catch(() => undefined));
    signal.throwIfAborted();
    const failures = context.checkpoint?.failures;
    let started: BootCheckpoint | undefined;
    const console = await this.#cycle(context, deployment, board, async () => {
      started = {
        startedAt: clock.now(),
        // A console has no history: what was said in an earlier run of this boot proves nothing.
        logStart: log.sizeBytes,
        ...(known !== undefined && { bootIdBefore: known }),
        ...(failures !== undefined && { failures }),
      };
      await remember(started);
    });
    if (started === undefined) throw new TypeError('a board is told of before it has power');
    return { ...started, ...(console !== undefined && { console }) };
  }

  /** Boots it, with somebody who listens, `ready` being called just before. Gives the console, where it has one. */
  async #cycle(
    context: WorkContext<unknown>,
    deployment: PlacedDeployment,
    board: Board,
    ready: () => Promise<void>,
  ): Promise<Console | undefined> {
    const { signal, clock } = context;
    const byHand = board.powerControl.method === 'manual';
    await using stack = new Cleanup();
    if (!byHand) {
      const { beforeOffMs, offMs } = fullSequence(board.powerSequence);
      await sleep(clock, beforeOffMs, signal);
      await this.#switch(context, deployment, board, 'off');
      await sleep(clock, offMs, signal);
    }
    // Before the power comes, so that the first byte is heard, and none of what it said before.
    await this.#consoles.drop(board.id);
    const console = board.serialDevice === undefined ? undefined : stack.use(await this.#console(board, { signal }));
    await ready();
    if (byHand) await this.#reboot(context, board);
    else await this.#switch(context, deployment, board, 'on');
    stack.move();
    return console;
  }

  /** A boot that ends between off and on must not leave the board without power: nobody could reach it then. */
  async abandonBoot(context: WorkContext<unknown>, deployment: PlacedDeployment, signal: AbortSignal): Promise<void> {
    const board = await this.#services.board(deployment.targetId);
    if (board.powerControl.method === 'manual') return;
    await givePowerBack(this.#services, powerOf(context, deployment, board), signal);
  }

  #switch(
    context: WorkContext<unknown>,
    deployment: PlacedDeployment,
    board: Board,
    wanted: 'on' | 'off',
  ): Promise<void> {
    return switchRecorded(this.#services, powerOf(context, deployment, board), wanted);
  }

  /** A board whose power a person switches restarts itself, if it still can. */
  async #reboot(context: WorkContext<unknown>, board: Board): Promise<void> {
    if (board.hostname === undefined) {
      throw new BringupError(
        'unsupported',
        `the power of board ${board.name} is switched by hand, and it has no shell to restart it: give it a powerControl`,
        { details: { boardId: board.id } },
      );
    }
    const { signal } = context;
    await using session = await this.#services.connectors.openShell(connectionOf(board), { signal });
    await context.guard();
    await session.exec(['reboot'], { timeoutMs: limits.execTimeoutMs, signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      // A board that restarts at once cuts the connection it was told so on.
      if (!isBringupError(error, 'connection-lost')) throw error;
    });
  }

  async openConsole({ targetId }: PlacedDeployment, _heard: number, options: CallOptions): Promise<Console> {
    return this.#console(await this.#services.board(targetId), options);
  }

  async hear(
    context: WorkContext<unknown>,
    deployment: PlacedDeployment,
    { restarting, first, ...options }: HearOptions,
  ): Promise<HeardConsole> {
    // Another process may have done something to the board since this one began to keep its console.
    const kept = first ? this.#consoles.kept(deployment.targetId, options.signal) : undefined;
    if (kept !== undefined) return { console: kept, anew: false };
    const board = await this.#services.board(deployment.targetId);
    const byHand = board.powerControl.method === 'manual';
    // Nobody knows what it has said meanwhile.
    if (byHand || board.serialDevice === undefined || !(await restarting())) {
      return { console: await this.#console(board, options), anew: false };
    }
    const console = await this.#cycle(context, deployment, board, () =>
      context.transaction(async ({ db }) => {
        // The boot that was verified is not the one that runs.
        await db.updateTable('deployments').set({ verification: null }).where('id', '=', deployment.id).execute();
      }),
    );
    return { console: console ?? (await this.#console(board, options)), anew: true };
  }

  #console(board: Board, options: CallOptions): Promise<Console> {
    const { connectors } = this.#services;
    return this.#consoles.take(board.id, board.name, (call) => connectors.openConsole(board, call), options);
  }

  async bootId({ targetId }: PlacedDeployment, options: CallOptions): Promise<string | undefined> {
    return this.#bootIdOf(await this.#services.board(targetId), options);
  }

  async #bootIdOf(board: Board, options: CallOptions): Promise<string | undefined> {
    if (board.hostname === undefined) return undefined;
    await using session = await this.#services.connectors.openShell(connectionOf(board), options);
    const result = await session.exec(['cat', bootIdPath], { timeoutMs: limits.execTimeoutMs, ...options });
    const id = result.stdout.toString('utf8').trim();
    return result.exitCode === 0 && id !== '' ? id : undefined;
  }

  async verify(
    deployment: PlacedDeployment,
    bootId: string | undefined,
    options: CallOptions,
  ): Promise<{ readonly checks: readonly VerificationCheck[]; readonly bootId?: string }> {
    const board = await this.#services.board(deployment.targetId);
    const flashed = board.firmware?.deploymentId === deployment.id;
    const firmware: VerificationCheck = {
      name: 'firmware',
      outcome: flashed ? 'passed' : 'failed',
      message: flashed
        ? `board ${board.name} was flashed with it last`
        : `board ${board.name} was flashed with ${board.firmware?.version ?? 'nothing known'} last`,
    };
    const seen = await this.#bootIdOf(board, options);
    if (seen === undefined || bootId === undefined) {
      const message = seen === undefined ? 'it has no shell to ask' : 'its boot was not seen before';
      const unknown: VerificationCheck = { name: 'boot-id', outcome: 'unknown', message };
      return { checks: [firmware, unknown], ...(seen !== undefined && { bootId: seen }) };
    }
    const same = seen === bootId;
    const message = same ? 'it has not been restarted since' : 'it has been restarted since its boot was verified';
    return { checks: [firmware, { name: 'boot-id', outcome: same ? 'passed' : 'failed', message }], bootId: seen };
  }
}

function connectionOf(board: Board): Connection {
  return { ...board, hostname: board.hostname ?? board.name };
}

function powerOf(context: WorkContext<unknown>, { id }: PlacedDeployment, board: Board): RecordedPower {
  return { context, board, by: `deployment ${id}`, reason: 'booting what was flashed' };
}
