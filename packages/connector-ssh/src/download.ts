import { BringupError, PartialDownload } from '@bringup/core';
import type { DownloadOptions } from '@bringup/core';
import { CallScope } from './call-scope.ts';
import type { SshProcess } from './process.ts';
import { downloadScript } from './scripts.ts';
import {
  absolutePath,
  checksumMismatch,
  collectText,
  notUnderstood,
  readLine,
  transferError,
  type TransferContext,
} from './transfer.ts';
import { TransferWatch } from './transfer-watch.ts';

/** The bytes of a file on the target, see `ShellSession.download`. */
export async function* download(
  context: TransferContext,
  path: string,
  options: DownloadOptions,
): AsyncGenerator<Uint8Array, void, void> {
  absolutePath(path);
  const what = `Download of ${path} from ${context.target.label}`;
  using call = new CallScope(context.clock, what, options);
  call.check();
  const { resume: part = new PartialDownload() } = options;
  const command = ['sh', '-c', downloadScript, 'download', path, `${part.sizeBytes + 1}`];
  const process = await call.race(context.start(command, what, call.signal));
  const cut = (): void => process.hangUp(call.signal.reason as Error);
  call.signal.addEventListener('abort', cut, { once: true });
  try {
    yield* receive(context, process, path, { ...options, resume: part }, call, what);
  } finally {
    call.signal.removeEventListener('abort', cut);
    process.hangUp(new BringupError('aborted', `${what} was left`));
  }
}

async function* receive(
  { clock }: TransferContext,
  process: SshProcess,
  path: string,
  options: DownloadOptions & { readonly resume: PartialDownload },
  call: CallScope,
  what: string,
): AsyncGenerator<Uint8Array, void, void> {
  const ended = Promise.all([collectText(process.stderr), process.exited]);
  ended.catch(() => undefined);
  const output = process.stdout[Symbol.asyncIterator]();
  const { resume: part } = options;
  using watch = new TransferWatch(clock, what, 0, options.onProgress, (error) => call.cut(error));
  // A script that could not start says no size.
  const head = await readLine(output, what);
  if (head !== undefined && !/^\d{1,16}$/.test(head.line)) throw notUnderstood(what);
  const totalBytes = Number(head?.line ?? 0);
  if (head !== undefined && totalBytes < part.sizeBytes) throw shorterThan(what, path, totalBytes, part);
  watch.totalBytes = totalBytes;
  watch.moved(part.sizeBytes);
  for (
    let chunk: Uint8Array | undefined = head?.rest;
    chunk !== undefined;
    chunk = (await output.next()).value ?? undefined
  ) {
    if (chunk.byteLength === 0) continue;
    if (part.sizeBytes + chunk.byteLength > totalBytes) throw longerThan(what, path, totalBytes);
    part.add(chunk);
    watch.moved(chunk.byteLength);
    watch.pause();
    yield chunk;
    watch.expectBytes();
  }
  watch.expectProof();
  const [stderr, status] = await ended;
  const stored = /^([0-9a-f]{64})\b/m.exec(stderr)?.[1];
  if (status.exitCode !== 0 || stored === undefined)
    throw transferError(what, path, status, stderr, { actual: stored });
  const received = part.sha256();
  if (received !== stored) throw checksumMismatch(what, path, stored, received);
  if (options.sha256 !== undefined && received !== options.sha256)
    throw checksumMismatch(what, path, options.sha256, received);
  watch.finish();
}

function longerThan(what: string, path: string, totalBytes: number): BringupError {
  const message = `${what}: the target sends more than the ${totalBytes} bytes it said. The file may have grown; download it again.`;
  return new BringupError('checksum-mismatch', message, { retryable: true, details: { path, totalBytes } });
}

function shorterThan(what: string, path: string, totalBytes: number, part: PartialDownload): BringupError {
  return new BringupError(
    'checksum-mismatch',
    `${what}: the file has changed: it has ${totalBytes} bytes, fewer than the ${part.sizeBytes} that were downloaded. Download it from its beginning.`,
    { details: { path, totalBytes, sizeBytes: part.sizeBytes } },
  );
}
