import { createHash, type Hash } from 'node:crypto';
import { throwIfAborted } from '../async.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { ByteSource, TransferOptions } from '../contracts/shell.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { inBlocks } from './in-blocks.ts';
import { PosixCksum } from './posix-cksum.ts';

/** What moving a file needs of a console's shell. */
export interface ConsoleRunner {
  run(
    argv: readonly string[],
    options: CallOptions & { readonly kernelMessages: 'remove' },
  ): Promise<{ readonly exitCode: number; readonly output: string }>;
}

/** What moving a file over a console proved. */
export interface ConsoleTransferReceipt {
  readonly sizeBytes: number;
  /** Of what was sent or received, computed here; lower-case hex. */
  readonly sha256: string;
  /** What the whole file was compared by: SHA-256, or POSIX `cksum` where the target has no `sha256sum`. */
  readonly comparedBy: 'sha256' | 'cksum';
}

/** Options of putting a file. */
export interface ConsolePutOptions extends TransferOptions {
  /** Permission bits of the file. Default 0o644. */
  readonly mode?: number;
}

/** How bytes travel as text: base64, or octal and hex where the target has no such program. */
type Alphabet = 'base64' | 'digits';

const blockFailed = 65;
const blockDamaged = 66;

/** Which programs there are, and whether the file can be made: path, mode. */
const beginPut = `
: >"$1" && chmod "$2" "$1" || exit 1
command -v base64 >/dev/null && echo base64 || echo digits
`;

/** One block: path, block size, index, what cksum must say, alphabet, text. */
const putBlock = `
if [ "$5" = base64 ]; then printf %s "$6" | base64 -d >"$1.block"
else printf "$(printf %s "$6" | tr -d '\\n')" >"$1.block"; fi || exit ${blockFailed}
[ "$(cksum <"$1.block" | tr -s ' ' ' ')" = "$4" ] || exit ${blockDamaged}
dd if="$1.block" of="$1" bs="$2" seek="$3" conv=notrunc 2>/dev/null || exit ${blockFailed}
`;

/** What the whole file looks like: path. */
const compare = `
cksum <"$1" || exit 1
command -v sha256sum >/dev/null && sha256sum <"$1" || echo none
`;

/** Path beside, path. */
const endPut = 'sync; rm -f "$1.block"; mv -f "$1" "$2"';

/** Which programs there are and how large the file is, twice, for it is not checked by a sum: path. */
const beginGet = `
[ -f "$1" ] && [ -r "$1" ] || exit 1
command -v base64 >/dev/null && echo base64 || echo digits
wc -c <"$1"
wc -c <"$1"
`;

/** One block: path, block size, index, alphabet. */
const getBlock = `
f() { dd if="$1" bs="$2" skip="$3" count=1 2>/dev/null; }
f "$@" | cksum
if [ "$4" = base64 ]; then f "$@" | base64; else f "$@" | od -An -v -tx1; fi
`;

/**
 * Stores bytes under an absolute path: block by block beside the path, each block checked by the target
 * and typed again where the line damaged it, then compared as a whole and renamed.
 */
export async function putFile(
  runner: ConsoleRunner,
  source: ByteSource,
  path: string,
  options: ConsolePutOptions = {},
): Promise<ConsoleTransferReceipt> {
  const beside = `${path}.bringup-part`;
  const ask = asker(runner, options, path);
  const begun = await ask(beginPut, [beside, (options.mode ?? 0o644).toString(8)]);
  if (begun.exitCode !== 0) throw transferFailed(path, begun.output);
  const alphabet = alphabetOf(begun.output);
  const [hash, sum] = [createHash('sha256'), new PosixCksum()];
  let sent = 0;
  let index = 0;
  try {
    for await (const block of inBlocks(source.read(), limits.consoleBlockBytes)) {
      hash.update(block);
      sum.update(block);
      const values = [beside, String(limits.consoleBlockBytes), String(index), cksumOf(block), alphabet];
      await tried(path, options, async () => {
        const { exitCode, output } = await ask(putBlock, [...values, encode(block, alphabet)]);
        if (exitCode === blockDamaged) return undefined;
        if (exitCode !== 0) throw transferFailed(path, output);
        return true;
      });
      sent += block.length;
      index += 1;
      options.onProgress?.({ transferredBytes: sent, totalBytes: source.sizeBytes });
    }
    const receipt = await compared(ask, path, beside, { sizeBytes: sent, hash, sum });
    if (source.sha256 !== undefined && source.sha256 !== receipt.sha256) throw damaged(path, 'its source says');
    const ended = await ask(endPut, [beside, path]);
    if (ended.exitCode !== 0) throw transferFailed(path, ended.output);
    return receipt;
  } catch (error) {
    await runner
      .run(['rm', '-f', beside, `${beside}.block`], { kernelMessages: 'remove', timeoutMs: limits.killGraceMs })
      .catch(() => {});
    throw error;
  }
}

/** The bytes of a file, block by block, each checked; ends normally only when all of it is what the target has. */
export async function* getFile(
  runner: ConsoleRunner,
  path: string,
  options: TransferOptions = {},
): AsyncGenerator<Uint8Array, ConsoleTransferReceipt, void> {
  const ask = asker(runner, options, path);
  const { alphabet, sizeBytes } = await tried(path, options, async () => {
    const { exitCode, output } = await ask(beginGet, [path]);
    if (exitCode !== 0) {
      throw new BringupError('not-found', `there is no file ${path} on the console's machine`, { details: { path } });
    }
    const [first, again] = output.trim().split(/\s+/).slice(-2);
    return first === again ? { alphabet: alphabetOf(output), sizeBytes: Number(first) } : undefined;
  });
  const [hash, sum] = [createHash('sha256'), new PosixCksum()];
  let received = 0;
  for (let index = 0; received < sizeBytes; index += 1) {
    const values = [path, String(limits.consoleBlockBytes), String(index), alphabet];
    const block = await tried(path, options, async () => {
      const { exitCode, output } = await ask(getBlock, values);
      if (exitCode !== 0) throw transferFailed(path, output);
      return decode(output, alphabet);
    });
    if (block.length === 0) throw transferFailed(path, 'the file became shorter');
    hash.update(block);
    sum.update(block);
    received += block.length;
    options.onProgress?.({ transferredBytes: received, totalBytes: sizeBytes });
    yield block;
  }
  return await compared(ask, path, path, { sizeBytes: received, hash, sum });
}

type Ask = (script: string, values: readonly string[]) => Promise<{ exitCode: number; output: string }>;

/** Scripts are given as scripts, with values as arguments. */
function asker(runner: ConsoleRunner, { signal }: CallOptions, path: string): Ask {
  return (script, values) => {
    throwIfAborted(signal, `moving ${path} over the console`);
    return runner.run(['sh', '-c', script, 'sh', ...values], {
      kernelMessages: 'remove',
      timeoutMs: limits.consoleBlockTimeoutMs,
      ...(signal !== undefined && { signal }),
    });
  };
}

/** A block that was damaged, or whose command was garbled, is tried again. */
async function tried<T>(path: string, { signal }: CallOptions, act: () => Promise<T | undefined>): Promise<T> {
  for (let attempt = 0; attempt <= limits.consoleBlockRetries; attempt += 1) {
    throwIfAborted(signal, `moving ${path} over the console`);
    try {
      const result = await act();
      if (result !== undefined) return result;
    } catch (error) {
      if (!isBringupError(error, 'deadline-exceeded')) throw error;
    }
  }
  throw damaged(path, `what came over the console ${limits.consoleBlockRetries + 1} times says`);
}

/** Compares a file as a whole, again when the line may have damaged what the target says of it. */
async function compared(
  ask: Ask,
  path: string,
  stored: string,
  moved: { readonly sizeBytes: number; readonly hash: Hash; readonly sum: PosixCksum },
): Promise<ConsoleTransferReceipt> {
  const [sha256, cksum] = [moved.hash.digest('hex'), moved.sum.digest()];
  const receipt = { sizeBytes: moved.sizeBytes, sha256 };
  let says = 'its checksum says';
  for (let attempt = 0; attempt <= limits.consoleBlockRetries; attempt += 1) {
    const { exitCode, output } = await ask(compare, [stored]);
    if (exitCode !== 0) throw transferFailed(path, output);
    const [crc, size, theirs] = output.split(/\s+/);
    const same = `${crc} ${size}` === cksum;
    if (same && theirs === 'none') return { ...receipt, comparedBy: 'cksum' };
    if (same && theirs === sha256) return { ...receipt, comparedBy: 'sha256' };
    says = same ? 'its SHA-256 says' : 'its checksum says';
  }
  throw damaged(path, says);
}

function alphabetOf(output: string): Alphabet {
  return output.startsWith('base64') ? 'base64' : 'digits';
}

/** Text in lines that a terminal takes. */
function encode(block: Uint8Array, alphabet: Alphabet): string {
  const text =
    alphabet === 'base64'
      ? Buffer.from(block).toString('base64')
      : Array.from(block, (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
  return text.replaceAll(/.{1,760}/g, '$&\n');
}

/** The block, or undefined when it is not what its checksum says. */
function decode(output: string, alphabet: Alphabet): Uint8Array | undefined {
  const [crc = '', size = '', ...text] = output.trim().split(/\s+/);
  const block = Buffer.from(text.join(''), alphabet === 'base64' ? 'base64' : 'hex');
  return cksumOf(block) === `${crc} ${size}` ? block : undefined;
}

function cksumOf(bytes: Uint8Array): string {
  return new PosixCksum().update(bytes).digest();
}

function transferFailed(path: string, output: string): BringupError {
  const code = /No space left/i.test(output) ? 'disk-full' : 'transfer-failed';
  return new BringupError(code, `can't move ${path} over the console: ${output.trim()}`, { details: { path } });
}

function damaged(path: string, who: string): BringupError {
  return new BringupError('checksum-mismatch', `${path} is not what ${who}`, { retryable: true, details: { path } });
}
