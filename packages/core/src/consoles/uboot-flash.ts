import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { throwIfAborted, withDeadline } from '../async.ts';
import type { Console, ConsoleConnector } from '../contracts/console.ts';
import type {
  FlashConnector,
  FlashImage,
  FlashOptions,
  FlashReceipt,
  FlashStation,
  FlashTarget,
} from '../contracts/flash.ts';
import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { flashConnector } from '../flashing/flash-connector.ts';
import { limits } from '../limits.ts';
import { systemClock, systemRandom } from '../runtime.ts';
import { ConsoleSession } from './console-session.ts';
import { inBlocks } from './in-blocks.ts';
import { slotCommands, type SlotCommands, type UBootSlot } from './uboot-slot.ts';
import type { TftpFolder } from './tftp-folder.ts';
import { UBoot, type UBootOptions } from './uboot.ts';

/** Options of {@link ubootFlash}. */
export interface UBootFlashOptions extends Pick<
  UBootOptions,
  'prompt' | 'autobootPrompt' | 'interruptWith' | 'idleMs'
> {
  /** Name by which boards refer to it. Default `uboot`. */
  readonly name?: string;
  /** Opens the board's console; the board's flash station id is the device. It stays the caller's. */
  readonly console: ConsoleConnector;
  /** Bits per second of that console. Default `limits.serialBaudRate`. */
  readonly baudRate?: number;
  /** What can be flashed, by the name of the slot. */
  readonly slots: Readonly<Record<string, UBootSlot>>;
  /** Where in memory images are put: free from here on for as much as `chunkBytes`. */
  readonly loadAddress: number;
  /** Default `limits.ubootChunkBytes`; a multiple of the medium's erase block. */
  readonly chunkBytes?: number;
  /** How bytes get into memory: a folder that a TFTP server serves, or over the console. Default: over the console. */
  readonly tftp?: TftpFolder;
  /**
   * Restarts the board into U-Boot, with its console open already. Default: the lab cycles its power, which is
   * kept in the board's power history. Where a person switches the power: nothing; the board must be in U-Boot,
   * or about to start.
   */
  readonly restart?: (target: FlashTarget, options: CallOptions) => Promise<void>;
  /** Gets every byte of the console: the log. */
  readonly sink?: (chunk: Uint8Array, target: FlashTarget) => void | Promise<void>;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: the runtime's randomness. */
  readonly random?: Random;
}

/**
 * Flash stations that are nothing but a board's own U-Boot: an image is loaded into memory piece by piece,
 * checked there (CRC-32), written, read back, and checked again.
 *
 * @example
 * ```ts
 * const flash = ubootFlash({
 *   console: serial(),
 *   slots: { kernel: { interface: 'mmc', device: 0, startBlock: 2048, blocks: 131072 } },
 *   loadAddress: 0x42000000,
 *   tftp: tftpFolder({ path: '/srv/tftp' }),
 * });
 * ```
 */
export function ubootFlash(options: UBootFlashOptions): FlashConnector {
  return flashConnector(options.name ?? 'uboot', (target, gone) => new UBootFlashStation(options, target, gone));
}

/** A board's U-Boot as its flash station. A console that broke is opened again by the next flash. */
class UBootFlashStation implements FlashStation {
  readonly #options: UBootFlashOptions;
  readonly #target: FlashTarget;
  readonly #gone: () => void;
  readonly #life = new AbortController();
  readonly #clock: Clock;
  #turn: Promise<void> = Promise.resolve();
  #board: { readonly console: Console; readonly session: ConsoleSession; readonly uboot: UBoot } | undefined;

  constructor(options: UBootFlashOptions, target: FlashTarget, gone: () => void) {
    this.#options = options;
    this.#target = target;
    this.#gone = gone;
    this.#clock = options.clock ?? systemClock;
  }

  /** Makes sure that U-Boot answers. */
  async reach(call: CallOptions): Promise<UBoot> {
    if (this.#board?.session.open === true) return this.#board.uboot;
    await this.#letGo();
    const { name } = this.#target.board;
    const { console: connector, baudRate = limits.serialBaudRate, restart, sink } = this.#options;
    const target = { name, device: this.#target.stationId, baudRate };
    const bounded = { timeoutMs: limits.ubootTimeoutMs, ...call };
    return withDeadline(this.#clock, `reaching U-Boot on ${name}`, bounded, async (signal) => {
      const console = await connector.open(target, { signal });
      const session = new ConsoleSession({
        console,
        clock: this.#clock,
        ...(sink !== undefined && { sink: (chunk: Uint8Array) => sink(chunk, this.#target) }),
      });
      try {
        await (restart === undefined ? this.#target.powerCycle?.({ signal }) : restart(this.#target, { signal }));
        const { prompt, autobootPrompt, interruptWith, idleMs } = this.#options;
        const uboot = await UBoot.open({
          session,
          clock: this.#clock,
          random: this.#options.random ?? systemRandom,
          signal,
          timeoutMs: bounded.timeoutMs,
          ...(prompt !== undefined && { prompt }),
          ...(autobootPrompt !== undefined && { autobootPrompt }),
          ...(interruptWith !== undefined && { interruptWith }),
          ...(idleMs !== undefined && { idleMs }),
        });
        await this.#connect(uboot, { signal });
        signal.throwIfAborted();
        this.#board = { console, session, uboot };
        return uboot;
      } catch (error) {
        await session[Symbol.asyncDispose]();
        await console[Symbol.asyncDispose]();
        throw error;
      }
    });
  }

  async flash(image: FlashImage, options: FlashOptions = {}): Promise<FlashReceipt> {
    if (this.#life.signal.aborted) throw new TypeError('the session with the flash station is disposed');
    const commands = this.#slot(image);
    const bounded = {
      timeoutMs: options.timeoutMs ?? limits.flashTimeoutMs,
      signal: AbortSignal.any([this.#life.signal, ...(options.signal === undefined ? [] : [options.signal])]),
    };
    const what = `flashing ${image.slot} of ${this.#target.board.name}`;
    return withDeadline(this.#clock, what, bounded, async (signal) => {
      const turn = this.#turn;
      const done = Promise.withResolvers<void>();
      this.#turn = done.promise;
      try {
        // One that was aborted may still be getting out of the board's way.
        await turn;
        return await this.#write(image, commands, { ...options, signal });
      } catch (error) {
        // A command of U-Boot that failed is a flash that failed; what broke on the way is said as it is.
        if (!isBringupError(error, 'command-failed', 'transfer-failed')) throw error;
        const { message, details, retryable } = error;
        throw new BringupError('flash-failed', message, { cause: error, details, retryable });
      } finally {
        done.resolve();
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#life.signal.aborted) return;
    this.#life.abort(new BringupError('aborted', 'the flash session was disposed'));
    this.#gone();
    await this.#letGo();
  }

  #slot({ slot, bytes }: FlashImage): SlotCommands {
    const known = this.#options.slots[slot];
    if (known === undefined || !Object.hasOwn(this.#options.slots, slot)) {
      const names = Object.keys(this.#options.slots).join(', ');
      throw new BringupError('flash-failed', `there is no slot ${slot}; there are: ${names}`, { details: { slot } });
    }
    const commands = slotCommands(known);
    if (bytes.sizeBytes > commands.sizeBytes) {
      throw new BringupError(
        'flash-failed',
        `${bytes.sizeBytes} bytes do not fit into slot ${slot}, which has ${commands.sizeBytes}`,
        { details: { slot, sizeBytes: bytes.sizeBytes, slotBytes: commands.sizeBytes } },
      );
    }
    return commands;
  }

  async #write(
    { bytes, slot }: FlashImage,
    commands: SlotCommands,
    { signal, onProgress }: FlashOptions & { readonly signal: AbortSignal },
  ): Promise<FlashReceipt> {
    const uboot = await this.reach({ signal });
    const call = { signal, timeoutMs: limits.ubootLoadMs };
    await uboot.mustRun(commands.select, call);
    const hash = createHash('sha256');
    let written = 0;
    const chunkBytes = this.#options.chunkBytes ?? limits.ubootChunkBytes;
    for await (const chunk of inBlocks(abortable(bytes.read(), signal), chunkBytes)) {
      hash.update(chunk);
      const last = written + chunk.length >= bytes.sizeBytes;
      // Before the last byte reaches the medium: what is not what it should be is not finished.
      if (last && bytes.sha256 !== undefined && hash.copy().digest('hex') !== bytes.sha256) {
        throw mismatch(slot, 'what its source promised');
      }
      await this.#writeChunk(uboot, commands, chunk, written, slot, call);
      written += chunk.length;
      onProgress?.({ transferredBytes: written, totalBytes: bytes.sizeBytes });
    }
    if (written !== bytes.sizeBytes) throw mismatch(slot, 'as large as its source promised');
    return { slot, sizeBytes: written, sha256: hash.digest('hex'), verified: 'readback' };
  }

  async #writeChunk(
    uboot: UBoot,
    commands: SlotCommands,
    chunk: Uint8Array,
    at: number,
    slot: string,
    call: CallOptions,
  ): Promise<void> {
    const { loadAddress: address, tftp } = this.#options;
    const wanted = crc32(chunk).toString(16).padStart(8, '0');
    // The medium's last block is filled with zeros, not with what was in memory before.
    const size = Math.ceil(chunk.length / commands.blockBytes) * commands.blockBytes;
    await this.#fill(uboot, address, size, call);
    const load = (): ReturnType<UBoot['ymodem']> =>
      tftp === undefined
        ? uboot.ymodem(address, sourceOf(chunk), call)
        : tftp.publish(chunk, call, (filename) =>
            uboot.tftp(address, filename, { ...call, ...(tftp.server !== undefined && { server: tftp.server }) }),
          );
    for (let attempt = 0; ; attempt += 1) {
      const loaded = await load();
      if (loaded.crc32 === wanted) break;
      if (attempt === limits.transferRetries) throw mismatch(slot, 'in memory what was sent');
    }
    await this.#fill(uboot, address + chunk.length, size - chunk.length, call);
    await uboot.mustRun(commands.write(address, at, size), call);
    // What is read back must come from the medium.
    await this.#fill(uboot, address, size, call);
    await uboot.mustRun(commands.read(address, at, size), call);
    if ((await uboot.crc32(address, chunk.length, call)) !== wanted)
      throw mismatch(slot, 'on the medium what was written');
  }

  async #connect(uboot: UBoot, call: CallOptions): Promise<void> {
    const { tftp } = this.#options;
    if (tftp?.prepare !== undefined) await tftp.prepare(uboot, call);
    else if (tftp !== undefined) await uboot.dhcp(call);
  }

  async #fill(uboot: UBoot, address: number, size: number, call: CallOptions): Promise<void> {
    if (size > 0) await uboot.mustRun(`mw.b 0x${address.toString(16)} 0 0x${size.toString(16)}`, call);
  }

  async #letGo(): Promise<void> {
    const board = this.#board;
    this.#board = undefined;
    await board?.session[Symbol.asyncDispose]();
    await board?.console[Symbol.asyncDispose]();
  }
}

async function* abortable(bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    throwIfAborted(signal, 'flashing');
    yield chunk;
  }
}

function sourceOf(bytes: Uint8Array): FlashImage['bytes'] {
  return {
    sizeBytes: bytes.length,
    async *read(offset = 0) {
      yield bytes.subarray(offset);
    },
  };
}

function mismatch(slot: string, what: string): BringupError {
  return new BringupError('checksum-mismatch', `slot ${slot} is not ${what}`, { retryable: true, details: { slot } });
}
