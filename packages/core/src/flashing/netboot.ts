import { withDeadline } from '../async.ts';
import type {
  FlashConnector,
  FlashExpectation,
  FlashImage,
  FlashOptions,
  FlashReceipt,
  FlashStation,
  FlashTarget,
} from '../contracts/flash.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import type { ShellConnector, ShellSession, ShellTarget } from '../contracts/shell.ts';
import { BringupError, invalidInput, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import { flashConnector } from './flash-connector.ts';

/** Options of {@link netboot}. */
export interface NetbootOptions {
  /** Name by which boards refer to it. Default `netboot`. */
  readonly name?: string;
  /** Reaches the machine that serves the files. It stays the caller's. */
  readonly shell: ShellConnector;
  /** That machine. */
  readonly server: ShellTarget;
  /** Absolute folder there that the TFTP or HTTP server serves. A board's flash station id is its folder in there. */
  readonly path: string;
  /** File names by slot. Default: `kernel`, `initrd`, `dtb` and `rootfs`, each named as its slot. */
  readonly files?: Readonly<Record<string, string>>;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
}

const defaultFiles = { kernel: 'kernel', initrd: 'initrd', dtb: 'dtb', rootfs: 'rootfs' } as const;

/**
 * Flash stations of boards that boot over the network: an image is flashed by putting it where the board fetches
 * it, and the board boots it whenever it starts. The board is set up once to do so: in U-Boot, for example,
 * `bootcmd` is `dhcp && tftpboot ${kernel_addr_r} board1/kernel && …`.
 *
 * A file is there whole or as it was before, whatever is cut on the way, and has been read back on the server.
 *
 * @example
 * ```ts
 * const flash = netboot({
 *   shell: ssh(),
 *   server: { hostname: 'tftp.lab', username: 'lab' },
 *   path: '/srv/tftp',
 * });
 * await using lab = await createLab({ artifacts, connectors: { flash, console: serial(), power } });
 * await lab.boards.registerBoard({ name: 'board1', flashStationId: 'board1', … });
 * ```
 */
export function netboot(options: NetbootOptions): FlashConnector {
  if (!options.path.startsWith('/')) throw invalidInput('netboot', [{ path: 'path', message: 'must be absolute' }]);
  return flashConnector(options.name ?? 'netboot', (target, gone) => new NetbootStation(options, target, gone));
}

/** One board's folder. A connection that broke is made anew by the next call. */
class NetbootStation implements FlashStation {
  readonly #options: NetbootOptions;
  readonly #clock: Clock;
  readonly #board: string;
  readonly #folder: string;
  readonly #gone: () => void;
  readonly #life = new AbortController();
  #session: ShellSession | undefined;

  constructor(options: NetbootOptions, { stationId, board }: FlashTarget, gone: () => void) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#board = board.name;
    this.#folder = `${options.path.replace(/\/+$/, '')}/${checkedFolder(stationId)}`;
    this.#gone = gone;
  }

  /** Makes sure that the server is there, with the board's folder in it. */
  async reach(call: CallOptions): Promise<ShellSession> {
    if (this.#session !== undefined) return this.#session;
    const { shell, server, path } = this.#options;
    const bounded = { timeoutMs: limits.connectTimeoutMs, ...call };
    const session = await shell.connect(server, bounded);
    try {
      // The root must be there: one that is made up is served by nobody.
      const there = await session.exec(['test', '-d', path], bounded);
      if (there.exitCode !== 0) {
        throw new BringupError('not-found', `there is no folder ${path} on ${server.hostname}`, {
          details: { hostname: server.hostname, path },
        });
      }
      const made = await session.exec(['mkdir', '-p', this.#folder], bounded);
      if (made.exitCode !== 0) {
        const why = made.stderr.toString('utf8').trim();
        throw new BringupError('flash-failed', `${this.#folder} can't be made on ${server.hostname}: ${why}`, {
          details: { hostname: server.hostname, path: this.#folder },
        });
      }
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
    this.#session = session;
    void session.closed.then(() => {
      if (this.#session === session) this.#session = undefined;
    });
    return session;
  }

  flash(image: FlashImage, options: FlashOptions = {}): Promise<FlashReceipt> {
    return this.#call(`flashing ${image.slot} of ${this.#board}`, options, async (signal) => {
      const path = this.#file(image.slot);
      const session = await this.reach({ signal });
      const { onProgress } = options;
      const timeoutMs = options.timeoutMs ?? limits.flashTimeoutMs;
      const report = { signal, timeoutMs, ...(onProgress !== undefined && { onProgress }) };
      const { sizeBytes, sha256 } = await session.upload(image.bytes, path, report);
      return { slot: image.slot, sizeBytes, sha256, verified: 'readback' };
    });
  }

  verify({ slot, sha256 }: FlashExpectation, options: CallOptions = {}): Promise<boolean> {
    return this.#call(`reading ${slot} of ${this.#board} back`, options, async (signal) => {
      const path = this.#file(slot);
      const session = await this.reach({ signal });
      const { stdout } = await session.exec(['sha256sum', path], { signal, timeoutMs: limits.flashTimeoutMs });
      return stdout.toString('utf8').split(' ')[0] === sha256;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#life.signal.aborted) return;
    this.#life.abort(new BringupError('aborted', 'the flash session was disposed'));
    this.#gone();
    await this.#session?.[Symbol.asyncDispose]();
  }

  #file(slot: string): string {
    const files: Readonly<Record<string, string>> = this.#options.files ?? defaultFiles;
    const file = Object.hasOwn(files, slot) ? files[slot] : undefined;
    if (file !== undefined) return `${this.#folder}/${file}`;
    throw new BringupError('flash-failed', `there is no slot ${slot}; there are: ${Object.keys(files).join(', ')}`, {
      details: { slot },
    });
  }

  async #call<T>(what: string, options: CallOptions, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#life.signal.aborted) throw new TypeError('the session with the flash station is disposed');
    const signals = [this.#life.signal, ...(options.signal === undefined ? [] : [options.signal])];
    const bounded = { timeoutMs: options.timeoutMs ?? limits.flashTimeoutMs, signal: AbortSignal.any(signals) };
    try {
      return await withDeadline(this.#clock, what, bounded, act);
    } catch (error) {
      if (!isBringupError(error, 'transfer-failed', 'disk-full', 'command-failed')) throw error;
      const { message, details, retryable } = error;
      throw new BringupError('flash-failed', message, { cause: error, details, retryable });
    }
  }
}

/** A folder below the served one. @throws `invalid-input` for one that leads out of it. */
function checkedFolder(stationId: string): string {
  const parts = stationId.split('/');
  if (parts.every((part) => /^[\w-][\w.-]*$/.test(part))) return stationId;
  throw invalidInput('the board', [
    {
      path: 'flashStationId',
      message: 'must be a folder below the served one: letters, digits, dots, dashes, underscores',
    },
  ]);
}
