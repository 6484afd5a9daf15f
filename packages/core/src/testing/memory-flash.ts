import { createHash } from 'node:crypto';
import { sleep, throwIfAborted, withDeadline } from '../async.ts';
import type {
  FlashExpectation,
  FlashImage,
  FlashOptions,
  FlashProof,
  FlashReceipt,
  FlashStation,
} from '../contracts/flash.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { systemClock } from '../runtime.ts';

/** Options of {@link memoryFlash}. */
export interface MemoryFlashOptions {
  /** Slots of the board, and their sizes. Default: `firmware` and `rootfs` of 64 MiB. */
  readonly slots?: Readonly<Record<string, number>>;
  /** How a flash is verified. Only `readback` finds damaged bytes. Default `readback`. */
  readonly proof?: FlashProof;
  /** How fast it writes. Default: in no time. */
  readonly bytesPerSecond?: number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** A board's flash in memory. Faults are set on it. */
export function memoryFlash(options: MemoryFlashOptions = {}): MemoryFlashStation {
  return new MemoryFlashStation(options);
}

/** {@link memoryFlash}'s station, with its faults. */
export class MemoryFlashStation implements FlashStation {
  readonly #slots: Readonly<Record<string, number>>;
  readonly #proof: FlashProof;
  readonly #clock: Clock;
  readonly #contents = new Map<string, Buffer>();
  readonly #broken = new Set<string>();
  /** How fast it writes, if that takes time. */
  bytesPerSecond: number | undefined;
  #corruptAt: number | undefined;
  #cutAt: number | undefined;
  #disposed = false;

  constructor({ slots, proof, bytesPerSecond, clock }: MemoryFlashOptions) {
    this.#slots = slots ?? { firmware: 64 * 2 ** 20, rootfs: 64 * 2 ** 20 };
    this.#proof = proof ?? 'readback';
    this.bytesPerSecond = bytesPerSecond;
    this.#clock = clock ?? systemClock;
  }

  /** What a slot holds, half-written images included; undefined when it was never written. */
  contents(slot: string): Buffer | undefined {
    return this.#contents.get(slot);
  }

  /** Whether every slot that was ever written holds a whole, undamaged image. */
  get intact(): boolean {
    return this.#broken.size === 0;
  }

  /** The medium damages one byte of the next image. */
  corruptNext(offset = 0): void {
    this.#corruptAt = offset;
  }

  /** The next flash is cut off after so many bytes: the station is gone. */
  cutNextAfter(bytes: number): void {
    this.#cutAt = bytes;
  }

  flash(image: FlashImage, options: FlashOptions = {}): Promise<FlashReceipt> {
    const what = `flashing ${image.slot}`;
    return withDeadline(this.#clock, what, options, async (signal) => {
      this.#check(image);
      const [corruptAt, cutAt] = [this.#corruptAt, this.#cutAt];
      this.#corruptAt = undefined;
      this.#cutAt = undefined;
      const hash = createHash('sha256');
      const written: Buffer[] = [];
      let transferredBytes = 0;
      for await (const chunk of image.bytes.read()) {
        throwIfAborted(signal, what);
        this.#broken.add(image.slot);
        if (this.bytesPerSecond !== undefined)
          await sleep(this.#clock, (chunk.length / this.bytesPerSecond) * 1_000, signal);
        const kept = chunk.subarray(0, Math.max(0, (cutAt ?? Infinity) - transferredBytes));
        written.push(Buffer.from(kept));
        transferredBytes += kept.length;
        this.#contents.set(image.slot, Buffer.concat(written));
        if (kept.length < chunk.length) throw cutOff(image.slot, transferredBytes);
        hash.update(chunk);
        options.onProgress?.({ transferredBytes, totalBytes: image.bytes.sizeBytes });
      }
      throwIfAborted(signal, what);
      const content = this.#contents.get(image.slot) ?? Buffer.alloc(0);
      this.#contents.set(image.slot, content);
      if (corruptAt !== undefined && corruptAt < content.length)
        content.writeUInt8((content[corruptAt] ?? 0) ^ 0xff, corruptAt);
      else this.#broken.delete(image.slot);
      return this.#verify(image, transferredBytes, hash.digest('hex'));
    });
  }

  /** Whether a slot begins with these bytes. */
  verify({ slot, sizeBytes, sha256 }: FlashExpectation, options: CallOptions = {}): Promise<boolean> {
    return withDeadline(this.#clock, `reading ${slot} back`, options, async () => {
      if (this.#disposed) throw new TypeError('The flash station is disposed.');
      const stored = this.#contents.get(slot)?.subarray(0, sizeBytes);
      if (stored === undefined) return false;
      return stored.length === sizeBytes && createHash('sha256').update(stored).digest('hex') === sha256;
    });
  }

  /** Lets go of the station; later calls are refused. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
  }

  #check({ slot, bytes }: FlashImage): void {
    if (this.#disposed) throw new TypeError('The flash station is disposed.');
    const capacity = this.#slots[slot];
    if (capacity === undefined) {
      throw new BringupError(
        'flash-failed',
        `The board has no slot ${slot}; it has ${Object.keys(this.#slots).join(', ')}.`,
      );
    }
    if (bytes.sizeBytes > capacity) {
      throw new BringupError(
        'flash-failed',
        `An image of ${bytes.sizeBytes} bytes does not fit into ${slot}, which has ${capacity}.`,
        { details: { slot, sizeBytes: bytes.sizeBytes, capacityBytes: capacity } },
      );
    }
  }

  #verify({ slot, bytes }: FlashImage, sizeBytes: number, sent: string): FlashReceipt {
    const expected = bytes.sha256 ?? sent;
    if (sent !== expected || sizeBytes !== bytes.sizeBytes) throw mismatch(slot, expected, sent, 'was sent');
    const stored = createHash('sha256')
      .update(this.#contents.get(slot) ?? '')
      .digest('hex');
    if (this.#proof === 'readback' && stored !== expected) throw mismatch(slot, expected, stored, 'was read back');
    return { slot, sizeBytes, sha256: sent, verified: this.#proof };
  }
}

function cutOff(slot: string, writtenBytes: number): BringupError {
  return new BringupError(
    'connection-lost',
    `The flash station was lost after ${writtenBytes} bytes of ${slot}; the slot is in an unknown state and must be flashed again.`,
    { retryable: true, details: { slot, writtenBytes } },
  );
}

function mismatch(slot: string, expected: string, actual: string, how: string): BringupError {
  return new BringupError(
    'checksum-mismatch',
    `${slot} should hold SHA-256 ${expected}, but ${actual} ${how}; flash it again.`,
    { details: { slot, expected, actual } },
  );
}
