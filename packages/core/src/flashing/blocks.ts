import { createHash } from 'node:crypto';
import { throwIfAborted } from '../async.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { ByteSource, ShellSession } from '../contracts/shell.ts';
import { limits } from '../limits.ts';
import type { BlockMap, BlockRange } from '../model/block-map.ts';
import { commandFailed, mismatch, run, textOf } from './outcome.ts';
import { mappedWriteScript, readBackScript, writeScript } from './scripts.ts';
import { blockBytes, type BlockSlot } from './slots.ts';

/** What writing to a device needs. */
export interface BlockWrite {
  readonly session: ShellSession;
  readonly slot: BlockSlot;
  /** The slot's. */
  readonly name: string;
  readonly signal: AbortSignal;
  /** Hears how much has come from the source so far. */
  readonly onBytes: (transferredBytes: number) => void;
}

/** What came from the source. */
interface Sent {
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** Writes all bytes of an image. @throws `flash-failed`, `aborted`, and as the source does. */
export async function writeWhole(write: BlockWrite, bytes: ByteSource): Promise<Sent> {
  const { device, offsetBytes = 0 } = write.slot;
  const hash = createHash('sha256');
  let sizeBytes = 0;
  await using writer = await startWriter(write, [writeScript, device, offsetBytes, blockBytes(offsetBytes)]);
  for await (const chunk of bytes.read()) {
    throwIfAborted(write.signal, `flashing ${write.name}`);
    hash.update(chunk);
    if (!(await writer.write(chunk))) break;
    sizeBytes += chunk.byteLength;
    write.onBytes(sizeBytes);
  }
  await writer.end();
  return { sizeBytes, sha256: hash.digest('hex') };
}

/**
 * Writes what the map says that an image holds.
 * @throws as {@link writeWhole}; `checksum-mismatch` when the map is not this image's.
 */
export async function writeMapped(write: BlockWrite, bytes: ByteSource, map: BlockMap): Promise<Sent> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const taken = (chunk: Uint8Array): void => {
    throwIfAborted(write.signal, `flashing ${write.name}`);
    hash.update(chunk);
    sizeBytes += chunk.byteLength;
    write.onBytes(sizeBytes);
  };
  const pieces = mappedPieces(write.name, bytes.read(), map.ranges, taken);
  for (const batch of batches(map.ranges)) {
    const where = batch.flatMap((range) => {
      const at = placeOf(write.slot, range);
      // What ends within a sector is the end of the image: nothing comes after it.
      const inBlocks = range.sizeBytes % 512 === 0 ? blockBytes(range.sizeBytes) : Infinity;
      const block = Math.min(blockBytes(at), inBlocks);
      return [block, at / block, Math.ceil(range.sizeBytes / block)];
    });
    await using writer = await startWriter(write, [mappedWriteScript, write.slot.device, ...where]);
    for (let left = sum(batch); left > 0;) {
      const { done, value } = await pieces.next();
      if (done === true || !(await writer.write(value))) break;
      left -= value.byteLength;
    }
    await writer.end();
  }
  // What comes after the last range belongs to the image's hash.
  await pieces.next();
  return { sizeBytes, sha256: hash.digest('hex') };
}

/** The first range that the medium does not hold, and what it holds there. @throws `flash-failed`. */
export async function findDamaged(
  session: ShellSession,
  slot: BlockSlot,
  ranges: readonly BlockRange[],
  call: CallOptions,
): Promise<{ readonly expected: string; readonly stored: string } | undefined> {
  const { device } = slot;
  for (const batch of batches(ranges)) {
    const where = batch.flatMap((range) => {
      const at = placeOf(slot, range);
      return [blockBytes(at), at / blockBytes(at), range.sizeBytes];
    });
    const argv = ['sh', '-c', readBackScript, 'sh', device, ...where.map(String)];
    const sums = (await run(session, argv, `reading ${device} back`, call)).split('\n');
    for (const [index, { sha256: expected }] of batch.entries()) {
      const stored = (sums[index] ?? '').slice(0, 64);
      if (stored !== expected) return { expected, stored };
    }
  }
  return undefined;
}

/** A process that takes bytes. */
interface Writer extends AsyncDisposable {
  /** False once it takes no more: `end` tells why. */
  write(bytes: Uint8Array): Promise<boolean>;
  /** Waits until everything is on the medium. @throws `flash-failed` with what it said. */
  end(): Promise<void>;
}

async function startWriter(
  { session, slot, name, signal }: BlockWrite,
  [script, ...args]: readonly (string | number)[],
): Promise<Writer> {
  const process = await session.spawn(['sh', '-c', String(script), 'sh', ...args.map(String)], { signal });
  const complaints = textOf(process.stderr);
  // A connection that is lost is told by what is written.
  complaints.catch(() => undefined);
  return {
    write: (bytes) =>
      process.write(bytes).then(
        () => true,
        () => false,
      ),
    async end() {
      await process.end().catch(() => undefined);
      const exit = await process.exited;
      throwIfAborted(signal, `flashing ${name}`);
      if (exit.exitCode !== 0)
        throw commandFailed(`writing ${slot.device}`, exit.exitCode ?? exit.signal, await complaints);
    },
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** What of a stream lies in the ranges, in pieces that lie in one each; each range is checked when it has come. */
async function* mappedPieces(
  name: string,
  bytes: AsyncIterable<Uint8Array>,
  ranges: readonly BlockRange[],
  taken: (chunk: Uint8Array) => void,
): AsyncGenerator<Uint8Array, void> {
  let at = 0;
  let index = 0;
  let hash = createHash('sha256');
  for await (const chunk of bytes) {
    taken(chunk);
    const end = at + chunk.byteLength;
    for (let range = ranges[index]; range !== undefined && range.offsetBytes < end; range = ranges[index]) {
      const rangeEnd = range.offsetBytes + range.sizeBytes;
      const piece = chunk.subarray(Math.max(range.offsetBytes, at) - at, Math.min(rangeEnd, end) - at);
      hash.update(piece);
      yield piece;
      if (rangeEnd > end) break;
      const found = hash.digest('hex');
      if (found !== range.sha256)
        throw mismatch(name, range.sha256, found, 'came from its source: the block map is another image’s');
      hash = createHash('sha256');
      index += 1;
    }
    at = end;
  }
}

/** Ranges that one command is told of: a command line has a bound. */
function* batches(ranges: readonly BlockRange[]): Generator<readonly BlockRange[], void> {
  for (let at = 0; at < ranges.length; at += limits.blockMapRangesAtOnce)
    yield ranges.slice(at, at + limits.blockMapRangesAtOnce);
}

function sum(ranges: readonly BlockRange[]): number {
  return ranges.reduce((all, { sizeBytes }) => all + sizeBytes, 0);
}

/** Where a range begins on the slot's device, counted from the medium's first byte. */
function placeOf({ offsetBytes = 0 }: BlockSlot, range: BlockRange): number {
  return offsetBytes + range.offsetBytes;
}
