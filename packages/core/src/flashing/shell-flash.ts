import * as v from 'valibot';
import { throwIfAborted, withDeadline } from '../async.ts';
import type {
  FlashConnector,
  FlashExpectation,
  FlashImage,
  FlashOptions,
  FlashReceipt,
  FlashStation,
  FlashTarget,
} from '../contracts/flash.ts';
import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import type { ShellConnector, ShellSession, ShellTarget } from '../contracts/shell.ts';
import { BringupError, invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import { validate } from '../model/validate.ts';
import { newId, systemClock, systemRandom } from '../runtime.ts';
import { flashConnector } from './flash-connector.ts';
import { findDamaged, writeMapped, writeWhole, type BlockWrite } from './blocks.ts';
import { commandFailed, mismatch, run } from './outcome.ts';
import { lookScript, settleScript } from './scripts.ts';
import { sdMuxSchema, slotSchema, type BlockSlot, type SdMux, type ShellSlot, type UpdaterSlot } from './slots.ts';

/** One machine from which a board is flashed: the board itself, or the host that its card or disk is plugged into. */
export interface ShellFlashStation {
  readonly target: ShellTarget;
  /** What can be flashed, by the name of the slot. */
  readonly slots: Readonly<Record<string, ShellSlot>>;
  /** Gives the card to the target while it is written or read. Default: the target has it always. */
  readonly sdMux?: SdMux;
}

/** Options of {@link shellFlash}. */
export interface ShellFlashOptions {
  /** Name by which boards refer to it. Default `shell`. */
  readonly name?: string;
  /** Reaches the stations. It stays the caller's. */
  readonly shell: ShellConnector;
  /** The stations by the flash station id of the boards. */
  readonly stations: Readonly<Record<string, ShellFlashStation>>;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: the runtime's randomness. */
  readonly random?: Random;
}

/**
 * Flash stations that are a shell: images are written to block devices by `dd` and read back from the
 * medium, or handed to the board's own updater (RAUC, SWUpdate). A device that is mounted, or a part of
 * something that is, is never written. An SD card behind a multiplexer is taken over first, and given
 * to the board whatever happens.
 *
 * @example
 * ```ts
 * const flash = shellFlash({
 *   shell: ssh(),
 *   stations: {
 *     'bench-3': {
 *       target: { hostname: 'flasher', username: 'root' },
 *       slots: { sdcard: { method: 'block', device: '/dev/disk/by-id/usb-sdmux-3' }, system: rauc() },
 *     },
 *   },
 * });
 * ```
 * @throws `invalid-input` naming the field of a station that can't be.
 */
export function shellFlash(options: ShellFlashOptions): FlashConnector {
  for (const [id, { slots, sdMux }] of Object.entries(options.stations))
    validate(`Flash station ${id}`, stationSchema, { slots, ...(sdMux !== undefined && { sdMux }) });
  const name = options.name ?? 'shell';
  return flashConnector(name, (target, gone) => {
    const settings = Object.hasOwn(options.stations, target.stationId) ? options.stations[target.stationId] : undefined;
    if (settings !== undefined) return new ShellStation(options, settings, target, gone);
    throw new BringupError(
      'not-found',
      `the flash connector ${name} has no station ${target.stationId}; it has ${Object.keys(options.stations).join(', ')}`,
      { details: { stationId: target.stationId } },
    );
  });
}

const stationSchema = v.object({ slots: v.record(v.string(), slotSchema), sdMux: v.exactOptional(sdMuxSchema) });

/** One board's station. A session that broke is opened again by the next call; calls take turns. */
class ShellStation implements FlashStation {
  readonly #options: ShellFlashOptions;
  readonly #settings: ShellFlashStation;
  readonly #target: FlashTarget;
  readonly #gone: () => void;
  readonly #clock: Clock;
  readonly #life = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();
  #session: ShellSession | undefined;

  constructor(options: ShellFlashOptions, settings: ShellFlashStation, target: FlashTarget, gone: () => void) {
    this.#options = options;
    this.#settings = settings;
    this.#target = target;
    this.#gone = gone;
    this.#clock = options.clock ?? systemClock;
  }

  /** Makes sure of a session. */
  async reach(call: CallOptions): Promise<ShellSession> {
    if (this.#session !== undefined) return this.#session;
    const session = await this.#options.shell.connect(this.#settings.target, call);
    this.#session = session;
    void session.closed.then(() => {
      if (this.#session === session) this.#session = undefined;
    });
    return session;
  }

  async flash(image: FlashImage, options: FlashOptions = {}): Promise<FlashReceipt> {
    const what = `flashing ${image.slot} of ${this.#target.board.name}`;
    const timeoutMs = options.timeoutMs ?? limits.flashTimeoutMs;
    return this.#inTurn(what, { ...options, timeoutMs }, async (session, call) => {
      const slot = this.#slot(image.slot);
      return this.#withCard(session, call, () =>
        slot.method === 'block'
          ? this.#writeBlocks(session, slot, image, { ...options, ...call })
          : this.#install(session, slot, image, { ...options, ...call }),
      );
    });
  }

  /** @throws also `unsupported` for slots that an updater writes. */
  async verify(
    { slot: name, sizeBytes, sha256, blockMap }: FlashExpectation,
    options: CallOptions = {},
  ): Promise<boolean> {
    const timeoutMs = options.timeoutMs ?? limits.flashTimeoutMs;
    return this.#inTurn(`reading ${name} back`, { ...options, timeoutMs }, async (session, call) => {
      const slot = this.#slot(name);
      if (slot.method !== 'block') {
        throw new BringupError('unsupported', `slot ${name} is written by ${slot.argv[0]}, which can't read it back`);
      }
      return this.#withCard(session, call, async () => {
        if (sizeBytes > (await this.#capacity(session, slot, name, call))) return false;
        const ranges = blockMap?.ranges ?? [{ offsetBytes: 0, sizeBytes, sha256 }];
        return (await findDamaged(session, slot, ranges, call)) === undefined;
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new TypeError('the flash station was disposed'));
    await this.#turn.catch(() => undefined);
    const session = this.#session;
    this.#session = undefined;
    await session?.[Symbol.asyncDispose]();
    this.#gone();
  }

  /** One call at a time; the next begins when the one before has really stopped, even if its caller has left. */
  async #inTurn<T>(
    what: string,
    options: CallOptions,
    act: (session: ShellSession, call: { readonly signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    if (this.#life.signal.aborted) throw new TypeError('the session with the flash station is disposed');
    const signals = [this.#life.signal, ...(options.signal === undefined ? [] : [options.signal])];
    return withDeadline(this.#clock, what, { ...options, signal: AbortSignal.any(signals) }, (signal) => {
      const mine = this.#turn
        .catch(() => undefined)
        .then(async () => {
          throwIfAborted(signal, what);
          return act(await this.reach({ signal }), { signal });
        });
      this.#turn = mine;
      // Where it is cut off nobody waits for it but the next in turn.
      mine.catch(() => undefined);
      return mine;
    });
  }

  #slot(name: string): ShellSlot {
    const { slots } = this.#settings;
    const slot = Object.hasOwn(slots, name) ? slots[name] : undefined;
    if (slot !== undefined) return slot;
    throw new BringupError(
      'flash-failed',
      `station ${this.#target.stationId} has no slot ${name}; it has ${Object.keys(slots).join(', ')}`,
      { details: { slot: name } },
    );
  }

  /** Takes the card from the board for as long as something is done to it. */
  async #withCard<T>(session: ShellSession, call: CallOptions, act: () => Promise<T>): Promise<T> {
    const mux = this.#settings.sdMux;
    if (mux === undefined) return act();
    await run(session, mux.toHost, 'giving the card to the host', call);
    let result: T;
    try {
      await withDeadline(
        this.#clock,
        `waiting for the card at ${mux.device}`,
        { ...call, timeoutMs: limits.sdMuxSettleMs },
        (signal) => run(session, ['sh', '-c', settleScript, 'sh', mux.device], 'waiting for the card', { signal }),
      );
      result = await act();
    } catch (error) {
      // The failure that is told is the first; the caller's signal may be why, so this has a time of its own.
      await run(session, mux.toBoard, 'giving the card to the board', { timeoutMs: limits.sdMuxSettleMs }).catch(
        () => undefined,
      );
      throw error;
    }
    await run(session, mux.toBoard, 'giving the card to the board', call);
    return result;
  }

  async #writeBlocks(
    session: ShellSession,
    slot: BlockSlot,
    { bytes, slot: name, blockMap }: FlashImage,
    options: FlashOptions & { readonly signal: AbortSignal },
  ): Promise<FlashReceipt> {
    const call = { signal: options.signal };
    if (blockMap !== undefined && blockMap.imageBytes !== bytes.sizeBytes) {
      const message = `is of ${blockMap.imageBytes} bytes, but the image has ${bytes.sizeBytes}`;
      throw invalidInput('the image', [{ path: 'blockMap', message }]);
    }
    const capacity = await this.#capacity(session, slot, name, call);
    if (bytes.sizeBytes > capacity) {
      throw new BringupError(
        'invalid-input',
        `an image of ${bytes.sizeBytes} bytes does not fit into slot ${name}, which has ${capacity}`,
        { details: { slot: name, sizeBytes: bytes.sizeBytes, capacityBytes: capacity } },
      );
    }
    const write: BlockWrite = {
      session,
      slot,
      name,
      signal: options.signal,
      onBytes: (transferredBytes) => {
        if (transferredBytes < bytes.sizeBytes) options.onProgress?.({ transferredBytes, totalBytes: bytes.sizeBytes });
      },
    };
    const sent = await (blockMap === undefined ? writeWhole(write, bytes) : writeMapped(write, bytes, blockMap));
    if (sent.sizeBytes !== bytes.sizeBytes || (bytes.sha256 ?? sent.sha256) !== sent.sha256)
      throw mismatch(name, bytes.sha256, sent.sha256, 'came from its source');
    const ranges = blockMap?.ranges ?? [{ offsetBytes: 0, ...sent }];
    const damaged = await findDamaged(session, slot, ranges, call);
    if (damaged !== undefined) throw mismatch(name, damaged.expected, damaged.stored, 'was read back');
    options.onProgress?.({ transferredBytes: bytes.sizeBytes, totalBytes: bytes.sizeBytes });
    return { slot: name, ...sent, verified: 'readback' };
  }

  async #capacity(session: ShellSession, slot: BlockSlot, name: string, call: CallOptions): Promise<number> {
    const size = Number(await run(session, ['sh', '-c', lookScript, 'sh', slot.device], `slot ${name}`, call));
    if (!Number.isSafeInteger(size)) throw commandFailed(`slot ${name}`, 0, 'its size is not known');
    const room = Math.max(0, size - (slot.offsetBytes ?? 0));
    return Math.min(room, slot.sizeBytes ?? room);
  }

  async #install(
    session: ShellSession,
    slot: UpdaterSlot,
    { bytes, slot: name }: FlashImage,
    options: FlashOptions & { readonly signal: AbortSignal },
  ): Promise<FlashReceipt> {
    const call = { signal: options.signal };
    const id = newId(this.#clock, this.#options.random ?? systemRandom);
    const path = `${slot.folder ?? '/tmp'}/bringup-${id}${slot.suffix ?? ''}`;
    const { onProgress } = options;
    const { sizeBytes, sha256 } = await session.upload(bytes, path, {
      ...call,
      ...(onProgress !== undefined && { onProgress }),
    });
    try {
      await run(session, [...slot.argv, path], `installing ${name}`, call);
    } finally {
      await session.exec(['rm', '-f', '--', path], { timeoutMs: limits.sdMuxSettleMs }).catch(() => undefined);
    }
    return { slot: name, sizeBytes, sha256, verified: slot.proof ?? 'none' };
  }
}
