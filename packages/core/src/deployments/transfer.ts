import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { ByteSource, ShellSession, TransferProgress } from '../contracts/shell.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Artifact } from '../model/artifact.ts';
import type { SessionHolder } from '../work/session.ts';

/**
 * Makes the folder of deployed files and tells which of them are there whole. `$1` folder, then
 * SHA-256 values, which are also the names. Damaged files are removed, the others count as used now.
 */
export const presentScript: string = `set -eu
mkdir -p -- "$1"
cd -- "$1"
shift
for hash do
  [ -f "$hash" ] || continue
  real=$(sha256sum < "$hash")
  if [ "\${real%% *}" = "$hash" ]; then touch -c -- "$hash" || :; printf '%s\\n' "$hash"; else rm -f -- "$hash"; fi
done
`;

/** What {@link transferArtifacts} needs. */
export interface TransferRequest {
  readonly sessions: SessionHolder;
  readonly repository: ArtifactRepository;
  /** Folder on the target that holds files by their hash. */
  readonly folder: string;
  readonly artifacts: readonly Artifact[];
  readonly signal: AbortSignal;
  readonly onProgress: (artifact: Artifact, progress: TransferProgress) => void;
}

/**
 * Brings artifacts to a target, each under its hash; those it already has are not sent again.
 * @returns paths on the target by artifact id.
 * @throws `transfer-failed`, `checksum-mismatch`, `disk-full`, `artifact-corrupted`,
 * `artifact-not-found`, `connection-lost`, `aborted`.
 */
export async function transferArtifacts(request: TransferRequest): Promise<ReadonlyMap<string, string>> {
  const { sessions, folder, artifacts, signal } = request;
  const present = await sessions.run((session) => presentHashes(session, folder, artifacts, signal));
  const paths = new Map<string, string>();
  for (const artifact of artifacts) {
    const path = `${folder}/${artifact.checksumSha256}`;
    if (!present.has(artifact.checksumSha256)) await send(request, artifact, path);
    present.add(artifact.checksumSha256);
    paths.set(artifact.id, path);
  }
  return paths;
}

async function presentHashes(
  session: ShellSession,
  folder: string,
  artifacts: readonly Artifact[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const hashes = artifacts.map((artifact) => artifact.checksumSha256);
  const result = await session.exec(['sh', '-c', presentScript, 'bringup-present', folder, ...hashes], {
    signal,
    timeoutMs: limits.hashTimeoutMs,
  });
  if (result.exitCode === 0) return new Set(result.stdout.toString('utf8').split('\n').filter(Boolean));
  const said = result.stderr.toString('utf8').trim().slice(0, 1000);
  const code = said.includes('No space left') ? 'disk-full' : 'transfer-failed';
  throw new BringupError(code, `the folder ${folder} on the target can't be used: ${said}`, {
    details: { folder, stderr: said },
  });
}

async function send(request: TransferRequest, artifact: Artifact, path: string): Promise<void> {
  const { sessions, repository, signal, onProgress } = request;
  const source: ByteSource = {
    sizeBytes: artifact.sizeBytes,
    sha256: artifact.checksumSha256,
    read: (offset = 0) => repository.read(artifact, { offset, signal }),
  };
  for (let attempt = 1; ; attempt += 1) {
    try {
      await sessions.run((session) =>
        session.upload(source, path, {
          signal,
          resume: true,
          onProgress: (progress) => onProgress(artifact, progress),
        }),
      );
      return;
    } catch (error) {
      const again = isBringupError(error, 'checksum-mismatch', 'transfer-failed');
      if (!again || attempt > limits.transferRetries) throw error;
    }
  }
}
