import { elapsedSince, sleep } from '../async.ts';
import { raiseAlert, resolveAlert } from '../alerts/raise.ts';
import type { FlashStation } from '../contracts/flash.ts';
import type { ByteSource } from '../contracts/shell.ts';
import { BringupError, fromStoredError, isBringupError, toBringupError, type StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { AlertSeverity } from '../model/alert.ts';
import type { FlashPart, FlashReceipt } from '../model/flash.ts';
import type { Board } from '../model/resource.ts';
import { recordFirmware } from '../pool/firmware.ts';
import { release } from '../pool/reservations.ts';
import { changeStatus, type StatusChange, type StoredStatus } from '../pool/status.ts';
import { halfFlashed } from '../power/intervention.ts';
import { cycleRecorded, givePowerBack, type RecordedPower } from '../power/recorded.ts';
import { newId } from '../runtime.ts';
import { giveUpWaiting, obtain } from '../selection/obtain.ts';
import { boardRequest } from '../selection/requests.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import { blockMapOf } from './flash-block-map.ts';
import { endFlashing, forgetFirmware, takeLying, type LyingBoard } from './flash-board.ts';
import { Progress } from './flash-progress.ts';
import type { FlashInput } from './flash-records.ts';
import type { DeploymentServices } from './services.ts';

interface Checkpoint {
  /** The board's reservation, when it is the flash's own. */
  readonly reservationId?: string;
  /** What was known of the board before. */
  readonly statusBefore: StoredStatus;
  readonly receipts: readonly FlashReceipt[];
  /** Set before the first byte is written: what the board holds is unknown from here on. */
  readonly writing?: boolean;
  /** The board is being restarted for its station: it may be without power. */
  readonly powerCut?: boolean;
  readonly attempts: number;
  readonly trouble?: StoredError;
}

/** What a finished flash gives. */
export interface FlashOutput {
  readonly receipts: readonly FlashReceipt[];
}

/**
 * Flashes a board: while it does, the board is `flashing` and nobody's to take. Each image is tried
 * again a few times; one that is written and proven is not written again, not even by the process that
 * takes over from a dead one. A board whose flash failed or was cut off is offline until it is flashed.
 */
export class FlashHandler implements WorkHandler<FlashInput, FlashOutput, Checkpoint> {
  readonly kind = 'flash';
  readonly #services: DeploymentServices;

  constructor(services: DeploymentServices) {
    this.#services = services;
  }

  async run(context: WorkContext<Checkpoint>, input: FlashInput): Promise<WorkResult<FlashOutput>> {
    const board = await this.#services.board(input.boardId);
    if (context.checkpoint === undefined) await this.#begin(context, input, board);
    await context.phase('flashing');
    await this.#flashAll(context, input, board);
    const { receipts = [] } = context.checkpoint ?? {};
    return { output: { receipts }, commit: (tx) => this.#succeed(tx, context, input) };
  }

  /** Takes the board, unless a deployment has it, and marks it as flashing. */
  async #begin(context: WorkContext<Checkpoint>, input: FlashInput, board: Board): Promise<void> {
    const mark = async (tx: StoreTransaction, reservationId?: string, lying?: LyingBoard) => {
      const now = context.clock.now();
      const from = await changeStatus(tx, board.id, { status: 'flashing', reason: `flash ${context.id}`, now });
      const own = reservationId === undefined ? {} : { reservationId };
      const statusBefore = lying?.status ?? from ?? 'online';
      const writing = lying?.halfFlashed === true;
      await context.saveIn(tx, { statusBefore, receipts: [], attempts: 0, writing, ...own });
    };
    if (input.reservationId !== undefined) {
      await context.transaction((tx) => mark(tx));
      return;
    }
    const request = boardRequest({ architecture: board.architecture, boardId: board.id });
    const { clock, random } = this.#services;
    const taken = await context.transaction(async (tx) => {
      const lying = await takeLying(tx, request, {
        id: newId(clock, random),
        resourceId: board.id,
        holder: context.id,
        now: clock.now(),
      });
      if (lying !== undefined) await mark(tx, lying.reservationId, lying);
      return lying !== undefined;
    });
    if (taken) return;
    await obtain(context, this.#services.selection, { request, record: (tx, { id }) => mark(tx, id) });
  }

  async #flashAll(context: WorkContext<Checkpoint>, input: FlashInput, board: Board): Promise<void> {
    for (;;) {
      const { attempts, trouble } = this.#reached(context);
      // A run that died had used its attempt up.
      if (attempts > limits.flashRetries) throw this.#gaveUp(board, trouble, attempts);
      if (attempts > 0) await sleep(context.clock, limits.flashBackoffMs * 2 ** (attempts - 1), context.signal);
      await this.#advance(context, { attempts: attempts + 1 }, 0);
      try {
        await using station = await this.#openStation(context, board);
        for (const part of input.parts) await this.#flashPart(context, input, station, part);
        return;
      } catch (error) {
        context.signal.throwIfAborted();
        const failure = toBringupError(error, 'flash-failed');
        if (!isWorthAnotherTry(failure)) throw failure;
        context.logger.warn({ error, board: board.id, flash: context.id }, 'a flash failed');
        await this.#advance(context, { trouble: failure.toJSON() });
      }
    }
  }

  /** A station that has to restart the board does it by the lab's own means, which keep it in the power history. */
  #openStation(context: WorkContext<Checkpoint>, board: Board): Promise<FlashStation> {
    const { signal } = context;
    const { connectors } = this.#services;
    if (board.powerControl.method === 'manual') return connectors.openFlash(board, { signal });
    const recorded = this.#recorded(context, board);
    return connectors.openFlash(board, {
      signal,
      powerCycle: async (call = {}) => {
        const both = call.signal === undefined ? signal : AbortSignal.any([signal, call.signal]);
        await this.#advance(context, { powerCut: true });
        await cycleRecorded(this.#services, recorded, { signal: both });
        await this.#advance(context, { powerCut: false });
      },
    });
  }

  #recorded(context: WorkContext<Checkpoint>, board: Board): RecordedPower {
    return { context, board, by: `flash ${context.id}`, reason: 'restarting it to flash it' };
  }

  #reached(context: WorkContext<Checkpoint>): Checkpoint {
    return context.checkpoint ?? { statusBefore: 'online', receipts: [], attempts: 0 };
  }

  async #flashPart(
    context: WorkContext<Checkpoint>,
    input: FlashInput,
    station: FlashStation,
    part: FlashPart,
  ): Promise<void> {
    const { receipts } = this.#reached(context);
    if (receipts.some(({ slot }) => slot === part.slot)) return;
    const { artifacts } = this.#services;
    const artifact = await artifacts.getArtifact(part.artifactId);
    const { signal } = context;
    const before = input.parts.slice(0, input.parts.indexOf(part)).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const bytes: ByteSource = {
      sizeBytes: part.sizeBytes,
      sha256: part.sha256,
      read: (offset = 0) => whileOwned(context, artifacts.read(artifact, { offset, signal })),
    };
    const blockMap = await blockMapOf(artifacts, part, { signal });
    await this.#beginWriting(context, input);
    await using progress = new Progress(context, (transferred) => this.#advance(context, {}, before + transferred));
    const receipt = await station.flash(
      { slot: part.slot, bytes, ...(blockMap !== undefined && { blockMap }) },
      {
        signal,
        timeoutMs: limits.flashTimeoutMs,
        onProgress: (report) => {
          progress.tell(report.transferredBytes);
          const { filename } = part;
          this.#services.onTransfer({ workId: context.id, filename, direction: 'upload', ...report });
        },
      },
    );
    if (receipt.sha256 !== part.sha256) {
      throw new BringupError('checksum-mismatch', `${part.slot} was flashed with other bytes than ${part.filename}`, {
        retryable: true,
        details: { slot: part.slot, expected: part.sha256, actual: receipt.sha256 },
      });
    }
    await progress.stop();
    await this.#advance(context, { receipts: [...receipts, receipt] }, before + part.sizeBytes);
  }

  /** From the first byte on nobody may take what the board holds for what it was flashed with before. */
  async #beginWriting(context: WorkContext<Checkpoint>, { boardId }: FlashInput): Promise<void> {
    await context.transaction(async (tx) => {
      await context.saveIn(tx, { ...this.#reached(context), writing: true });
      await forgetFirmware(tx, boardId, context.clock.now());
    });
  }

  /** Saves how far it is, for its own next run and for whoever looks. */
  async #advance(
    context: WorkContext<Checkpoint>,
    change: Partial<Checkpoint>,
    transferredBytes?: number,
  ): Promise<void> {
    const next = { ...this.#reached(context), ...change };
    await context.transaction(async (tx) => {
      await context.saveIn(tx, next);
      await tx.db
        .updateTable('flashes')
        .set({
          receipts: JSON.stringify(next.receipts),
          attempts: next.attempts,
          ...(transferredBytes !== undefined && { transferred_bytes: transferredBytes }),
        })
        .where('id', '=', context.id)
        .execute();
    });
  }

  #gaveUp(board: Board, trouble: StoredError | undefined, attempts: number): BringupError {
    const cause = trouble && fromStoredError(trouble);
    return new BringupError(
      'flash-failed',
      `board ${board.name} could not be flashed in ${attempts} tries: ${cause?.message ?? 'the processes that flashed it died'}`,
      { cause, details: { boardId: board.id, attempts, ...(trouble !== undefined && { cause: { ...trouble } }) } },
    );
  }

  async #succeed(tx: StoreTransaction, context: WorkContext<Checkpoint>, input: FlashInput): Promise<void> {
    const now = context.clock.now();
    const { buildId, commitHash, deploymentId, boardId } = input;
    await recordFirmware(tx, boardId, {
      flashId: context.id,
      version: input.firmwareVersion,
      flashedAt: now,
      ...(buildId !== undefined && { buildId }),
      ...(commitHash !== undefined && { commitHash }),
      ...(deploymentId !== undefined && { deploymentId }),
    });
    await resolveAlert(tx, { type: 'flash-failed', subject: boardId }, 'it was flashed', now);
    await this.#letGo(tx, context, boardId, { status: 'online', reason: 'it was flashed', unblock: [halfFlashed] });
  }

  /** Ends the flashing; the board is free again if the flash had taken it. */
  async #letGo(
    tx: StoreTransaction,
    context: WorkContext<Checkpoint>,
    boardId: string,
    change: Omit<StatusChange, 'now'>,
  ): Promise<void> {
    const { reservationId } = this.#reached(context);
    await endFlashing(tx, boardId, { ...change, now: context.clock.now() });
    if (reservationId !== undefined) await release(tx, reservationId);
  }

  async cleanUp(
    context: WorkContext<Checkpoint>,
    input: FlashInput,
    error: BringupError,
    signal: AbortSignal,
  ): Promise<void> {
    const reached = context.checkpoint;
    const cancelled = error.code === 'aborted';
    if (reached?.powerCut === true) {
      const board = await this.#services.board(input.boardId);
      await givePowerBack(this.#services, this.#recorded(context, board), signal);
    }
    const untouched = reached?.writing !== true && (reached === undefined || cancelled || !isWorthAnotherTry(error));
    if (reached === undefined || untouched) {
      const reason = `it was not flashed: ${error.message}`;
      await context.transaction(async (tx) => {
        if (reached === undefined) await giveUpWaiting(tx, context.id);
        else await this.#letGo(tx, context, input.boardId, { status: reached.statusBefore, reason });
        // A deployment tells of its own failure.
        if (!cancelled && input.deploymentId === undefined)
          await this.#alert(tx, context, input, 'warning', reason, error);
      });
      return;
    }
    const whole = reached.receipts.length === input.parts.length;
    const half = reached.writing === true && !whole;
    await context.transaction(async (tx) => {
      const reason = `its flash ${cancelled ? 'was cut off' : 'failed'}; flash it again: ${error.message}`;
      const status = whole ? 'online' : 'offline';
      await this.#letGo(tx, context, input.boardId, { status, reason, block: half ? [halfFlashed] : [] });
      // Whoever cut it off may not be who looks after the board.
      if (!cancelled || half) {
        await this.#alert(tx, context, input, cancelled ? 'warning' : 'critical', reason, error);
      }
    });
  }

  async #alert(
    tx: StoreTransaction,
    context: WorkContext<Checkpoint>,
    { boardId: subject }: FlashInput,
    severity: AlertSeverity,
    message: string,
    error: BringupError,
  ): Promise<void> {
    const details = { flashId: context.id, attempts: this.#reached(context).attempts, error: error.message };
    const trouble = { type: 'flash-failed', severity, subject, message, details } as const;
    await raiseAlert(tx, trouble, { clock: context.clock, random: this.#services.random });
  }
}

/** What says that the image can't be flashed there, however often it is tried. */
function isWorthAnotherTry(error: BringupError): boolean {
  return !isBringupError(
    error,
    'unsupported',
    'invalid-input',
    'not-found',
    'artifact-not-found',
    'artifact-corrupted',
    'lease-lost',
  );
}

/**
 * The bytes, as long as this process has the flash: one that stood still before it wrote them must not write into what its
 * successor has flashed by then.
 * @throws `lease-lost`.
 */
async function* whileOwned(context: WorkContext<unknown>, bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let elapsed = (): number => Number.POSITIVE_INFINITY;
  for await (const chunk of bytes) {
    if (elapsed() >= limits.heartbeatMs) {
      elapsed = elapsedSince(context.clock, context.clock.now());
      await context.guard();
    }
    yield chunk;
  }
}
