import { createHash, randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { BringupError, isBringupError } from '@bringup/core';
import type { ByteSource, Clock, TransferReceipt, UploadOptions } from '@bringup/core';
import { CallScope } from './call-scope.ts';
import { messageOf } from './errors.ts';
import type { SshProcess } from './process.ts';
import { uploadScript } from './scripts.ts';
import { absolutePath, collectText, transferError, type TransferContext } from './transfer.ts';
import { TransferWatch } from './transfer-watch.ts';

/** What is hashed and sent in one go; hashing more at a time would hold up other channels. */
const pieceBytes = 256 * 1024;

/** Stores a source under a path on the target, see `ShellSession.upload`. */
export async function upload(
  context: TransferContext,
  source: ByteSource,
  path: string,
  options: UploadOptions,
): Promise<TransferReceipt> {
  absolutePath(path);
  const what = `Upload to ${path} on ${context.target.label}`;
  using call = new CallScope(context.clock, what, options);
  call.check();
  const command = uploadCommand(source, path, options.mode ?? 0o644);
  const process = await call.race(context.start(command, what, call.signal));
  const cut = (): void => process.hangUp(call.signal.reason as Error);
  call.signal.addEventListener('abort', cut, { once: true });
  try {
    return await call.race(send(context.clock, process, source, path, options, call, what));
  } catch (error) {
    process.hangUp(error as Error);
    throw error;
  } finally {
    call.signal.removeEventListener('abort', cut);
  }
}

function uploadCommand(source: ByteSource, path: string, mode: number): readonly string[] {
  const part = posix.join(posix.dirname(path), `.bringup-${randomBytes(9).toString('hex')}.part`);
  const sent = source.sizeBytes + 64;
  return ['sh', '-c', uploadScript, 'upload', part, path, mode.toString(8), `${source.sizeBytes}`, `${sent}`];
}

async function send(
  clock: Clock,
  process: SshProcess,
  source: ByteSource,
  path: string,
  options: UploadOptions,
  call: CallScope,
  what: string,
): Promise<TransferReceipt> {
  using watch = new TransferWatch(clock, what, source.sizeBytes, options.onProgress, (error) => call.cut(error));
  // The target answers at the end, or early when it can't go on: then a source that is slow, or
  // stuck, is not waited for.
  const answer = Promise.all([collectText(process.stdout), collectText(process.stderr), process.exited]);
  const sending = sendBytes(process, source, call, watch, what).catch((error: unknown) => {
    // A target that stopped reading says why; that explains more than the broken pipe.
    if (isBringupError(error, 'command-failed')) return undefined;
    throw error;
  });
  sending.catch(() => undefined);
  answer.catch(() => undefined);
  const sha256 = await Promise.race([sending, answer.then(() => undefined)]);
  watch.expectProof();
  const [stdout, stderr, status] = await answer;
  const stored = /^sha256:([0-9a-f]{64})$/m.exec(stdout)?.[1];
  if (status.exitCode !== 0 || sha256 === undefined || stored !== sha256) {
    throw transferError(what, path, status, stderr, { expected: sha256, actual: stored });
  }
  watch.finish();
  return { sizeBytes: source.sizeBytes, sha256 };
}

/** Sends all bytes and, after them, their SHA-256; gives the hash. */
async function sendBytes(
  process: SshProcess,
  source: ByteSource,
  call: CallScope,
  watch: TransferWatch,
  what: string,
): Promise<string> {
  const hash = source.sha256 === undefined ? createHash('sha256') : undefined;
  for await (const chunk of readable(source, what)) {
    call.check();
    if (watch.transferredBytes + chunk.byteLength > source.sizeBytes) {
      throw new BringupError(
        'transfer-failed',
        `${what}: the source has more than the ${source.sizeBytes} bytes it said.`,
      );
    }
    for (let at = 0; at < chunk.byteLength; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes);
      hash?.update(piece);
      await process.write(piece);
      watch.moved(piece.byteLength);
    }
  }
  if (watch.transferredBytes !== source.sizeBytes) {
    throw new BringupError(
      'transfer-failed',
      `${what}: the source ended after ${watch.transferredBytes} of the ${source.sizeBytes} bytes it said.`,
    );
  }
  const sha256 = source.sha256 ?? hash?.digest('hex') ?? '';
  await process.end(sha256);
  return sha256;
}

/** The source's bytes, with its own failures as ours. */
async function* readable(source: ByteSource, what: string): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* source.read();
  } catch (error) {
    throw error instanceof BringupError
      ? error
      : new BringupError('transfer-failed', `${what}: its source could not be read: ${messageOf(error)}.`, {
          cause: error,
        });
  }
}
