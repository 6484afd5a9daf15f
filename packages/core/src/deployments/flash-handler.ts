import { onAbort, sleep } from '../async.ts';
import { raiseAlert, resolveAlert } from '../alerts/raise.ts';
import type { FlashStation } from '../contracts/flash.ts';
import type { ByteSource } from '../contracts/shell.ts';
import { BringupError, fromStoredError, isBringupError, toBringupError, type StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { AlertSeverity } from '../model/alert.ts';
import type { FlashPart, FlashReceipt } from '../model/flash.ts';
import type { Board } from '../model/resource.ts';
import { recordFirmware } from '../pool/firmware.ts';
import { release, reserve, type CapacityRequest } from '../pool/reservations.ts';
import { changeStatus, type StoredStatus } from '../pool/status.ts';
import { cycleRecorded } from '../power/recorded.ts';
import { newId } from '../runtime.ts';
import { giveUpWaiting, obtain } from '../selection/obtain.ts';
import { boardRequest } from '../selection/requests.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import { blockMapOf } from './flash-block-map.ts';
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
    const mark = async (tx: StoreTransaction, reservationId?: string, before?: StoredStatus) => {
      const now = context.clock.now();
      const from = await changeStatus(tx, board.id, { status: 'flashing', reason: `flash ${context.id}`, now });
      const own = reservationId === undefined ? {} : { reservationId };
      await context.saveIn(tx, { statusBefore: before ?? from ?? 'online', receipts: [], attempts: 0, ...own });
    };
    if (input.reservationId !== undefined) {
      await context.transaction((tx) => mark(tx));
      return;
    }
    const request = boardRequest({ architecture: board.architecture, boardId: board.id });
    if (await context.transaction((tx) => this.#takeOffline(tx, context.id, request, board, mark))) return;
    await obtain(context, this.#services.selection, { request, record: (tx, { id }) => mark(tx, id) });
  }

  /** A board that is offline can be flashed all the same: that is how it comes back. */
  async #takeOffline(
    tx: StoreTransaction,
    holder: string,
    request: CapacityRequest,
    { id: resourceId }: Board,
    mark: (tx: StoreTransaction, reservationId: string, before: StoredStatus) => Promise<void>,
  ): Promise<boolean> {
    const row = await tx.db
      .selectFrom('resources')
      .select(['status', 'blocked', 'slots_used', 'maintenance'])
      .where('id', '=', resourceId)
      .executeTakeFirst();
    const lying = row?.status === 'offline' || row?.status === 'unknown';
    if (!lying || row.slots_used > 0 || row.maintenance === 1 || row.blocked !== null) return false;
    const { clock, random } = this.#services;
    const now = clock.now();
    await changeStatus(tx, resourceId, { status: 'online', reason: 'it is going to be flashed', now });
    const taken = await reserve(tx, request, { id: newId(clock, random), resourceId, holder, now });
    // Nobody else can have taken it: the change and this are one transaction.
    if (taken === undefined) throw new TypeError(`board ${resourceId} is free, but could not be taken`);
    await mark(tx, taken.reservation.id, row.status as StoredStatus);
    return true;
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
    const recorded = { context, board, by: `flash ${context.id}`, reason: 'restarting it to flash it' };
    return connectors.openFlash(board, {
      signal,
      powerCycle: (call = {}) => {
        const both = call.signal === undefined ? signal : AbortSignal.any([signal, call.signal]);
        return cycleRecorded(this.#services, recorded, { signal: both });
      },
    });
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
      read: (offset = 0) => artifacts.read(artifact, { offset, signal }),
    };
    const blockMap = await blockMapOf(artifacts, part, { signal });
    await this.#advance(context, { writing: true });
    await context.guard();
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
    await this.#letGo(tx, context, boardId, 'online', 'it was flashed');
  }

  /** Ends the flashing; the board is free again if the flash had taken it. */
  async #letGo(
    tx: StoreTransaction,
    context: WorkContext<Checkpoint>,
    boardId: string,
    status: StoredStatus,
    reason: string,
  ): Promise<void> {
    const now = context.clock.now();
    const { reservationId } = this.#reached(context);
    const row = await tx.db.selectFrom('resources').select('status').where('id', '=', boardId).executeTakeFirst();
    if (row?.status === 'flashing') await changeStatus(tx, boardId, { status, reason, now });
    if (reservationId !== undefined) await release(tx, reservationId);
  }

  async cleanUp(context: WorkContext<Checkpoint>, input: FlashInput, error: BringupError): Promise<void> {
    const reached = context.checkpoint;
    const cancelled = error.code === 'aborted';
    const untouched = reached?.writing !== true && (reached === undefined || cancelled || !isWorthAnotherTry(error));
    if (reached === undefined || untouched) {
      const reason = `it was not flashed: ${error.message}`;
      await context.transaction(async (tx) => {
        if (reached === undefined) await giveUpWaiting(tx, context.id);
        else await this.#letGo(tx, context, input.boardId, reached.statusBefore, reason);
        // A deployment tells of its own failure.
        if (!cancelled && input.deploymentId === undefined)
          await this.#alert(tx, context, input, 'warning', reason, error);
      });
      return;
    }
    const whole = reached.receipts.length === input.parts.length;
    await context.transaction(async (tx) => {
      const reason = `its flash ${cancelled ? 'was cut off' : 'failed'}; flash it again: ${error.message}`;
      await this.#letGo(tx, context, input.boardId, whole ? 'online' : 'offline', reason);
      if (!cancelled) await this.#alert(tx, context, input, 'critical', reason, error);
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

/** Stores progress now and then, one write at a time. */
class Progress implements AsyncDisposable {
  readonly #store: (transferredBytes: number) => Promise<void>;
  readonly #now: () => number;
  readonly #abort: Disposable;
  #toldAt = 0;
  #storing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(context: WorkContext, store: (transferredBytes: number) => Promise<void>) {
    this.#store = store;
    this.#now = () => context.clock.now();
    this.#abort = onAbort(context.signal, () => (this.#stopped = true));
  }

  tell(transferredBytes: number): void {
    if (this.#stopped || this.#now() - this.#toldAt < limits.flashProgressMs) return;
    this.#toldAt = this.#now();
    // A lost lease shows at the next write that counts.
    this.#storing = this.#storing.then(() => this.#store(transferredBytes)).catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#storing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort[Symbol.dispose]();
    await this.stop();
  }
}
