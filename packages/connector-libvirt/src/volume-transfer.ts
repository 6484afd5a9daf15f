import { createHash } from 'node:crypto';
import {
  BringupError,
  checkReceipt,
  checksumError,
  limits,
  onAbort,
  ProgressReporter,
  throwIfAborted,
  withDeadline,
} from '@bringup/core';
import type { ByteSource, CallOptions, Clock, TransferOptions, TransferReceipt } from '@bringup/core';
import type { Daemon } from './daemon.ts';
import type { RpcStream } from './rpc/stream.ts';
import { StorageCalls } from './storage-calls.ts';
import type { VolumeRef } from './storage-calls.ts';

/** What transfers need of a host's storage. */
export interface TransferParts {
  readonly clock: Clock;
  readonly openLine: (options: CallOptions) => Promise<Daemon>;
}

/** A stream on a connection of its own, which ends with it. */
interface TransferLine extends AsyncDisposable {
  readonly stream: RpcStream;
  /** Waits for one step of the transfer, but not longer than a transfer may stand still. */
  step<T>(work: Promise<T>): Promise<T>;
}

async function openTransfer(
  { clock, openLine }: TransferParts,
  what: string,
  stallMs: number,
  signal: AbortSignal | undefined,
  open: (calls: StorageCalls) => Promise<RpcStream>,
): Promise<TransferLine> {
  const bounds: CallOptions = { timeoutMs: stallMs, ...(signal !== undefined && { signal }) };
  const daemon = await openLine(bounds);
  try {
    const stream = await open(new StorageCalls(daemon.connection));
    const abort = onAbort(signal, () => void stream.abort().catch(() => {}));
    return {
      stream,
      step: (work) => {
        // It may fail after the deadline has passed, when nobody waits for it.
        work.catch(() => {});
        return withDeadline(clock, `${what}, without moving a byte,`, bounds, () => work);
      },
      async [Symbol.asyncDispose]() {
        abort[Symbol.dispose]();
        await daemon[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
}

/** Fills a new volume with the bytes of a source, then reads them back. @throws as `LibvirtStorage.upload`. */
export async function sendVolume(
  parts: TransferParts,
  volume: VolumeRef,
  source: ByteSource,
  options: TransferOptions,
): Promise<TransferReceipt> {
  const sent = await send(parts, volume, source, options);
  const stored = await readBack(parts, volume, source.sizeBytes, options.signal);
  checkReceipt(volume.name, source, sent, stored);
  return stored;
}

async function readBack(
  parts: TransferParts,
  volume: VolumeRef,
  bytes: number,
  signal: AbortSignal | undefined,
): Promise<TransferReceipt> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of receive(parts, volume, bytes, signal)) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

async function send(
  parts: TransferParts,
  volume: VolumeRef,
  source: ByteSource,
  { signal, onProgress }: TransferOptions,
): Promise<TransferReceipt> {
  const progress = new ProgressReporter(parts.clock, source.sizeBytes, onProgress);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  await using line = await openTransfer(parts, `Upload of ${volume.name}`, limits.transferStallMs, signal, (calls) =>
    calls.openUpload(volume, source.sizeBytes, signal === undefined ? {} : { signal }),
  );
  const chunks = source.read()[Symbol.asyncIterator]();
  try {
    for (;;) {
      // The daemon's refusal, such as a full disk, comes while we wait for the source or for room.
      const refused = line.stream.ended.then((error) => Promise.reject(error ?? early('upload', volume)));
      refused.catch(() => {});
      const next = await line.step(Promise.race([chunks.next(), refused]));
      if (next.done === true) break;
      sizeBytes += next.value.length;
      // What is too much for the volume is not sent: the receipt tells that the source has changed.
      if (sizeBytes > source.sizeBytes) break;
      hash.update(next.value);
      await line.step(Promise.race([line.stream.write(next.value), refused]));
      progress.add(next.value.length);
    }
    await line.step(line.stream.finish());
  } finally {
    // Told to stop but not waited for: one that hangs would hold up the clean-up.
    void chunks.return?.().catch(() => {});
  }
  const receipt = { sizeBytes, sha256: hash.digest('hex') };
  if (sizeBytes === source.sizeBytes) progress.finish();
  return receipt;
}

/** The bytes of a volume, all `totalBytes` of them, checked. @throws as `LibvirtStorage.download`. */
export async function* receiveVolume(
  parts: TransferParts,
  volume: VolumeRef,
  totalBytes: number,
  { sha256, signal, onProgress }: TransferOptions & { readonly sha256?: string },
): AsyncGenerator<Uint8Array, void> {
  const progress = new ProgressReporter(parts.clock, totalBytes, onProgress);
  const hash = createHash('sha256');
  for await (const chunk of receive(parts, volume, totalBytes, signal)) {
    hash.update(chunk);
    progress.add(chunk.length);
    yield chunk;
  }
  const found = hash.digest('hex');
  if (sha256 !== undefined && found !== sha256) throw checksumError(volume.name, sha256, found);
  progress.finish();
}

/** A volume's first `bytes`, counted: nobody takes a part for the whole, nor waits for an end after the last of them. */
async function* receive(
  parts: TransferParts,
  volume: VolumeRef,
  bytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer, void> {
  if (bytes === 0) return;
  const what = `Download of ${volume.name}`;
  await using line = await openTransfer(parts, what, limits.transferStallMs, signal, (calls) =>
    calls.openDownload(volume, 0, bytes, signal === undefined ? {} : { signal }),
  );
  const chunks = line.stream.read();
  for (let received = 0; received < bytes;) {
    const { done, value } = await line.step(chunks.next());
    throwIfAborted(signal, what);
    if (done === true) throw early('download', volume);
    received += value.length;
    yield value;
  }
  await line.step(line.stream.finish());
}

function early(transfer: 'upload' | 'download', volume: VolumeRef): BringupError {
  return new BringupError(
    'transfer-failed',
    `libvirt ended the ${transfer} of ${volume.name} before it was complete.`,
    { retryable: true, details: { volume: volume.name, pool: volume.pool } },
  );
}
