import type { Clock } from '../contracts/runtime.ts';
import { abortedError, onAbort } from '../async.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';

/** Options for reading a log. */
export interface ReadLogOptions {
  readonly signal?: AbortSignal;
  /** First byte. Default 0. */
  readonly offset?: number;
  /** Keep going until the log is ended. Default false: up to what is there now. */
  readonly follow?: boolean;
}

type FencedTransaction = <T>(change: (tx: StoreTransaction) => Promise<T>) => Promise<T>;

/**
 * Logs as they are kept in the store: bytes that only ever grow, each byte once, in the same
 * transaction discipline as the rest. Any process can read and follow them.
 */
export class LogStore {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #telemetry: Telemetry | undefined;

  /** @param telemetry - is told how much is written. */
  constructor(store: Store, clock: Clock, telemetry?: Telemetry) {
    this.#store = store;
    this.#clock = clock;
    this.#telemetry = telemetry;
  }

  /** Size of a log in bytes and whether it is ended; undefined when there is none. */
  async stat(logId: string): Promise<{ sizeBytes: number; ended: boolean } | undefined> {
    const row = await this.#store.db.selectFrom('logs').selectAll().where('id', '=', logId).executeTakeFirst();
    return row && { sizeBytes: row.size_bytes, ended: row.ended === 1 };
  }

  /**
   * The log of a work item from an offset on, with `follow` as it grows until the log or the item
   * has ended. Leaving the loop frees everything.
   * @throws `not-found`, `aborted`.
   */
  async *readOf(
    workId: string,
    logId: string,
    options: ReadLogOptions = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let offset = options.offset ?? 0;
    for (;;) {
      if (options.signal?.aborted === true) throw abortedError(`reading log ${logId}`, options.signal);
      using wake = this.#wakeUp(logId, options.signal);
      const item = await this.#store.db
        .selectFrom('work_items')
        .select('finished_at')
        .where('id', '=', workId)
        .executeTakeFirst();
      if (item === undefined) throw new BringupError('not-found', `there is no work item ${workId}`);
      const ended = item.finished_at !== null || (await this.stat(logId))?.ended === true;
      for await (const chunk of this.read(logId, { ...options, offset })) {
        offset += chunk.byteLength;
        yield chunk;
      }
      if (options.follow !== true || ended) return;
      await wake.promise;
    }
  }

  /** The bytes a log has now, from an offset on. */
  async *read(
    logId: string,
    options: { readonly offset?: number; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let offset = options.offset ?? 0;
    for (;;) {
      if (options.signal?.aborted === true) throw abortedError(`reading log ${logId}`, options.signal);
      const chunk = await this.#chunkAt(logId, offset);
      if (chunk === undefined) return;
      offset += chunk.byteLength;
      yield chunk;
    }
  }

  async #chunkAt(logId: string, offset: number): Promise<Uint8Array | undefined> {
    const row = await this.#store.db
      .selectFrom('log_chunks')
      .selectAll()
      .where('log_id', '=', logId)
      .where('start_byte', '<=', offset)
      .orderBy('start_byte', 'desc')
      .limit(1)
      .executeTakeFirst();
    if (row === undefined || row.start_byte + row.bytes.byteLength <= offset) return undefined;
    return row.bytes.subarray(offset - row.start_byte);
  }

  #wakeUp(logId: string, signal: AbortSignal | undefined): Disposable & { promise: Promise<void> } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = (): void => resolve();
    const commit = this.#store.onCommit(`log:${logId}`, done);
    // Another process may be the writer: it can't wake us, so look again now and then.
    const timer = this.#clock.timer(limits.workPollMs, done);
    const abort = onAbort(signal, done);
    return {
      promise,
      [Symbol.dispose]: () => {
        commit[Symbol.dispose]();
        timer[Symbol.dispose]();
        abort[Symbol.dispose]();
      },
    };
  }

  /** Opens a log for appending under the transaction of its one writer. */
  async openWriter(logId: string, transaction: FencedTransaction): Promise<LogWriter> {
    const size = await transaction(async ({ db }) => {
      await db
        .insertInto('logs')
        .values({ id: logId, size_bytes: 0, ended: 0 })
        .onConflict((c) => c.column('id').doUpdateSet({ ended: 0 }))
        .execute();
      return (await db.selectFrom('logs').select('size_bytes').where('id', '=', logId).executeTakeFirstOrThrow())
        .size_bytes;
    });
    return new LogWriter(logId, size, {
      transaction,
      clock: this.#clock,
      onStored: (bytes) => this.#telemetry?.add('logWritten', bytes, {}),
    });
  }
}

/** What a {@link LogWriter} works with. */
interface LogWriterOptions {
  readonly transaction: FencedTransaction;
  readonly clock: Clock;
  /** Hears how much has become durable. */
  readonly onStored: (bytes: number) => void;
}

/**
 * Appends to one log. Bytes are gathered for {@link limits.logFlushMs} or
 * {@link limits.logChunkBytes} and then stored; `append` waits while storing can't keep up.
 */
export class LogWriter implements AsyncDisposable {
  readonly logId: string;
  readonly #transaction: FencedTransaction;
  readonly #clock: Clock;
  readonly #onStored: (bytes: number) => void;
  #stored: number;
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #timer: Disposable | undefined;
  #storing: Promise<void> = Promise.resolve();
  #failure: unknown;
  #full = false;

  constructor(logId: string, storedBytes: number, { transaction, clock, onStored }: LogWriterOptions) {
    this.logId = logId;
    this.#stored = storedBytes;
    this.#transaction = transaction;
    this.#clock = clock;
    this.#onStored = onStored;
    // It was full for the writer before.
    this.#full = storedBytes > limits.logMaxBytes;
  }

  /** Bytes in the log, those not yet stored included. */
  get sizeBytes(): number {
    return this.#stored + this.#gatheredBytes;
  }

  /** Adds text or bytes at the end. @throws `lease-lost` when another process is the writer now. */
  async append(data: Uint8Array | string): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#full) return;
    const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : data;
    if (bytes.byteLength === 0) return;
    const room = limits.logMaxBytes - this.sizeBytes;
    // The caller may reuse its buffer.
    this.#gather(Uint8Array.prototype.slice.call(bytes, 0, room));
    if (bytes.byteLength > room) {
      this.#full = true;
      this.#gather(Buffer.from('\n[log limit reached: the rest was dropped]\n'));
    }
    if (this.#gatheredBytes >= limits.logChunkBytes) {
      await this.flush();
    } else {
      this.#timer ??= this.#clock.timer(limits.logFlushMs, () => {
        // A failure is kept and thrown at the next append, flush or end.
        void this.flush().catch(() => undefined);
      });
    }
  }

  #gather(bytes: Uint8Array): void {
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.byteLength;
  }

  /**
   * Resolves when everything appended so far is durable.
   * @param along - what becomes durable with it, in one; gets the size of the log by then.
   */
  async flush(along?: (tx: StoreTransaction, sizeBytes: number) => Promise<void>): Promise<void> {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    const previous = this.#storing;
    this.#storing = (async () => {
      await previous.catch(() => undefined);
      await this.#store(along);
    })();
    await this.#storing;
  }

  async #store(along?: (tx: StoreTransaction, sizeBytes: number) => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#gathered.length === 0 && along === undefined) return;
    const bytes = Buffer.concat(this.#gathered);
    const start = this.#stored;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#stored += bytes.byteLength;
    try {
      await this.#transaction(async (tx) => {
        const grown = await tx.db
          .updateTable('logs')
          .set({ size_bytes: start + bytes.byteLength })
          .where('id', '=', this.logId)
          .where('size_bytes', '=', start)
          .executeTakeFirst();
        if (grown.numUpdatedRows !== 1n) {
          throw new BringupError('lease-lost', `log ${this.logId} has another writer`);
        }
        for (let at = 0; at < bytes.byteLength; at += limits.logChunkBytes) {
          await tx.db
            .insertInto('log_chunks')
            .values({
              log_id: this.logId,
              start_byte: start + at,
              bytes: bytes.subarray(at, at + limits.logChunkBytes),
            })
            .execute();
        }
        await along?.(tx, start + bytes.byteLength);
        tx.wake(`log:${this.logId}`);
      });
      this.#onStored(bytes.byteLength);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  /** Stores what is left and marks the log as ended: followers see its end. */
  async end(): Promise<void> {
    await this.flush();
    await this.#transaction(async (tx) => {
      await tx.db.updateTable('logs').set({ ended: 1 }).where('id', '=', this.logId).execute();
      tx.wake(`log:${this.logId}`);
    });
  }

  /** Stores what is left, if the writer still may. The log is not ended: another run may go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush().catch(() => undefined);
  }
}
