import { posix } from 'node:path';
import { sleep } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import type { ShellSession, TransferProgress } from '../contracts/shell.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { filenameFault } from '../artifacts/filename.ts';
import type { NewArtifact } from '../artifacts/records.ts';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { OutputDeclaration } from '../model/build.ts';
import type { SessionHolder } from '../work/session.ts';
import { collectScript } from './scripts.ts';

/** A file that a build left on its server. */
export interface FoundOutput extends NewArtifact {
  /** Absolute path on the server. */
  readonly path: string;
}

/**
 * Finds the declared outputs below a folder of the server, with their hashes as computed there.
 * @throws `output-missing` when a required one has no file, or all are too many or too large; `path-escape` when one
 * leads outside or has a name that is not taken.
 */
export async function findOutputs(
  session: ShellSession,
  folder: string,
  outputs: readonly OutputDeclaration[],
  signal: AbortSignal,
): Promise<FoundOutput[]> {
  const patterns = outputs.map((output) => output.path);
  const most = String(limits.maxBuildOutputBytes);
  const result = await session.exec(['sh', '-c', collectScript, 'bringup-collect', folder, most, ...patterns], {
    signal,
    timeoutMs: limits.hashTimeoutMs,
  });
  if (result.exitCode !== 0) {
    const said = result.stderr.toString('utf8').trim().slice(0, 1000);
    throw new BringupError('command-failed', `the outputs in ${folder} could not be listed: ${said}`, {
      retryable: true,
      details: { folder, stderr: said },
    });
  }
  const found: FoundOutput[] = [];
  const matched = new Set<number>();
  for (const line of result.stdout.toString('utf8').split('\n')) {
    if (line === '') continue;
    const [index = '', size = '', sha256 = '', ...rest] = line.split('\t');
    refuseOutput(index, size, patterns);
    const output = outputs[Number(index)];
    const path = rest.join('\t');
    if (output === undefined || !/^[0-9a-f]{64}$/.test(sha256) || !/^\d+$/.test(size) || !isBelow(path)) {
      throw new BringupError('command-failed', 'an output of the build could not be understood', {
        details: { line: line.slice(0, limits.maxFilenameChars) },
      });
    }
    const filename = filenameOf(path);
    const fault = filenameFault(filename);
    if (fault !== undefined) throw badName(output.path, fault);
    matched.add(Number(index));
    found.push({ type: output.type, filename, sizeBytes: Number(size), sha256, path: posix.join(folder, path) });
  }
  const missing = outputs.filter((output, index) => output.required !== false && !matched.has(index));
  if (missing.length > 0) {
    const paths = missing.map((output) => output.path);
    throw new BringupError('output-missing', `the build succeeded, but did not make ${paths.join(', ')}`, {
      details: { missing: paths },
    });
  }
  if (found.length > limits.maxArtifactsPerBuild) {
    throw new BringupError(
      'output-missing',
      `the build's outputs match ${found.length} files; at most ${limits.maxArtifactsPerBuild} are kept`,
    );
  }
  return distinct(found);
}

/** What the script says when it does not take a file. @throws `path-escape`, `output-missing`. */
function refuseOutput(word: string, value: string, patterns: readonly string[]): void {
  const pattern = patterns[Number(value)] ?? '';
  if (word === 'escape') {
    const path = value.slice(0, limits.maxFilenameChars);
    throw new BringupError('path-escape', `the output ${path} is a link to a file outside the build's folder`, {
      details: { path },
    });
  }
  if (word === 'name') throw badName(pattern, 'must not contain control characters');
  if (word === 'large') {
    const limitBytes = limits.maxBuildOutputBytes;
    const message = `with what ${pattern} matches, the build's outputs take more than ${limitBytes} bytes, which are not kept`;
    throw new BringupError('output-missing', message, { details: { pattern, limitBytes } });
  }
}

function badName(pattern: string, fault: string): BringupError {
  return new BringupError('path-escape', `${pattern} matches a file whose name is not taken: it ${fault}`, {
    details: { pattern },
  });
}

/** The server's word is not taken for where a file lies. */
function isBelow(path: string): boolean {
  return path !== '' && !path.startsWith('/') && !path.split('/').includes('..');
}

/** `arch/x86/boot/bzImage` is kept as `bzImage`, device trees with their vendor folder. */
function filenameOf(path: string): string {
  if (path === '.config') return 'config';
  const inTrees = /\/dts\/(.+)$/.exec(path)?.[1];
  return inTrees === undefined ? posix.basename(path) : `dts/${inTrees}`;
}

/** Two outputs of one name are told apart by their folders. */
function distinct(found: readonly FoundOutput[]): FoundOutput[] {
  const names = new Set<string>();
  return found.map((output, index) => {
    let filename = output.filename;
    for (let at = index; names.has(filename); at += 1) filename = `${at}/${output.filename}`;
    names.add(filename);
    return { ...output, filename };
  });
}

/** What {@link fetchOutput} works with. */
export interface Fetching {
  readonly sessions: SessionHolder;
  readonly artifacts: ArtifactRepository;
  /** The build it is for. */
  readonly buildId: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TransferProgress) => void;
}

/**
 * Brings a file into the storage, unless its bytes are there already. The bytes are compared with
 * the hash the server computed. A transfer whose connection breaks goes on where it was; one that failed
 * or was damaged is repeated.
 * @throws `checksum-mismatch`, `transfer-failed`, `store-failed`, `storage-full`, `connection-lost`, `aborted`.
 */
export async function fetchOutput(fetching: Fetching, output: FoundOutput): Promise<void> {
  const { sessions, artifacts, buildId, clock, signal, onProgress } = fetching;
  const { sha256 } = output;
  const transfer = (): Promise<unknown> =>
    artifacts.storage.put(noMore(sessions.download(output.path, { sha256, signal, onProgress }), output), {
      sha256,
      signal,
    });
  await artifacts.bring(
    buildId,
    output,
    async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          await transfer();
          return;
        } catch (error) {
          const again = isBringupError(error, 'checksum-mismatch', 'transfer-failed', 'store-failed');
          if (!again || attempt > limits.transferRetries) throw error;
          // What was damaged on the way may come through at once; a storage in trouble needs a moment.
          if (error.code === 'store-failed') await sleep(clock, limits.artifactRetryMs * 2 ** (attempt - 1), signal);
        }
      }
    },
    { signal },
  );
}

/** A server that goes on after the size it has told must not fill the storage. @throws `checksum-mismatch`. */
async function* noMore(bytes: AsyncIterable<Uint8Array>, output: FoundOutput): AsyncGenerator<Uint8Array, void, void> {
  const { filename, path, sizeBytes } = output;
  let left = sizeBytes;
  for await (const chunk of bytes) {
    left -= chunk.byteLength;
    if (left < 0) {
      throw new BringupError('checksum-mismatch', `${filename} has more than the ${sizeBytes} bytes that it had`, {
        retryable: true,
        details: { path, sizeBytes },
      });
    }
    yield chunk;
  }
}
