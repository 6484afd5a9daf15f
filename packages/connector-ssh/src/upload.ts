import { createHash, randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { BringupError, isBringupError } from '@bringup/core';
import type { ByteSource, Clock, TransferReceipt, UploadOptions } from '@bringup/core';
import { CallScope } from './call-scope.ts';
import { messageOf } from './errors.ts';
import type { SshProcess } from './process.ts';
import { resumeScript, uploadScript } from './scripts.ts';
import { absolutePath, collectText, readLine, transferError, type TransferContext } from './transfer.ts';
import { TransferWatch } from './transfer-watch.ts';

/** What is hashed and sent in one go; hashing more at a time would hold up other channels. */
const pieceBytes = 256 * 1024;

/** How long a stopped upload takes at most to remove what it had brought. */
const discardMs = 2_000;

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
  const resumed = options.resume === true ? source.sha256 : undefined;
  const mode = (options.mode ?? 0o644).toString(8);
  const part = partPath(path, resumed === undefined ? randomBytes(9).toString('hex') : resumeId(source, path, resumed));
  const command =
    resumed === undefined
      ? ['sh', '-c', uploadScript, 'upload', part, path, mode, `${source.sizeBytes}`, `${source.sizeBytes + 64}`]
      : ['sh', '-c', resumeScript, 'upload', part, path, mode, `${source.sizeBytes}`, resumed];
  const process = await call.race(context.start(command, what, call.signal));
  const cut = (): void => process.hangUp(call.signal.reason as Error);
  call.signal.addEventListener('abort', cut, { once: true });
  try {
    return await call.race(
      send(context.clock, process, source, path, { ...options, resume: resumed !== undefined }, call, what),
    );
  } catch (error) {
    process.hangUp(error as Error);
    // Whoever stopped it does not come back for what is there.
    if (resumed !== undefined && options.signal?.aborted === true) await discard(context, part);
    throw error;
  } finally {
    call.signal.removeEventListener('abort', cut);
  }
}

/** The same for every try to bring these bytes there, and for nothing else. */
function resumeId(source: ByteSource, path: string, sha256: string): string {
  return createHash('sha256').update(`${path}\0${source.sizeBytes}\0${sha256}`).digest('hex').slice(0, 32);
}

function partPath(path: string, id: string): string {
  return posix.join(posix.dirname(path), `.bringup-${id}.part`);
}

/** Removes a part, if the target can still be told to; otherwise the next upload into the folder does so one day. */
async function discard({ clock, start }: TransferContext, part: string): Promise<void> {
  const what = `Removing ${part}`;
  using call = new CallScope(clock, what, { timeoutMs: discardMs });
  try {
    const process = await call.race(start(['rm', '-f', '--', part], what, call.signal));
    await call.race(process.exited);
  } catch {
    // The connection is gone, for one. That the upload was stopped is what its caller has to know.
  }
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
  const output = process.stdout[Symbol.asyncIterator]();
  const start = options.resume === true ? readStart(output, what) : Promise.resolve(0);
  const rest = start.then(() => collectText({ [Symbol.asyncIterator]: () => output }));
  const answer = Promise.all([rest, collectText(process.stderr), process.exited]);
  const sending = sendBytes(process, source, { start, resumed: options.resume === true }, call, watch, what).catch(
    (error: unknown) => {
      // A target that stopped reading says why; that explains more than the broken pipe.
      if (isBringupError(error, 'command-failed')) return undefined;
      throw error;
    },
  );
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

/** How much the target has already; undefined when it has ended without saying. */
async function readStart(output: AsyncIterator<Uint8Array>, what: string): Promise<number | undefined> {
  const have = /^have:(\d+)$/.exec((await readLine(output, what))?.line ?? '')?.[1];
  return have === undefined ? undefined : Number(have);
}

/** Sends the bytes the target has not got and, where it does not know it yet, their SHA-256; gives the hash. */
async function sendBytes(
  process: SshProcess,
  source: ByteSource,
  { start, resumed }: { readonly start: Promise<number | undefined>; readonly resumed: boolean },
  call: CallScope,
  watch: TransferWatch,
  what: string,
): Promise<string> {
  const hash = source.sha256 === undefined ? createHash('sha256') : undefined;
  const offset = await start;
  // The target's script has ended: what it said says why.
  if (offset === undefined) return source.sha256 ?? '';
  watch.moved(offset);
  for await (const chunk of readable(source, offset, what)) {
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
  await process.end(resumed ? undefined : sha256);
  return sha256;
}

/** The source's bytes, with its own failures as ours. */
async function* readable(source: ByteSource, offset: number, what: string): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* source.read(offset);
  } catch (error) {
    throw error instanceof BringupError
      ? error
      : new BringupError('transfer-failed', `${what}: its source could not be read: ${messageOf(error)}.`, {
          cause: error,
        });
  }
}
