import { BringupError, invalidInput, type InputIssue } from '../errors.ts';
import type { GetBlobOptions } from '../contracts/artifact-storage.ts';

const sha256Pattern = /^[0-9a-f]{64}$/;

/** Whether a text is a lower-case hex SHA-256, and so can't lead out of a folder. */
export function isSha256(text: string): boolean {
  return sha256Pattern.test(text);
}

/** @throws `invalid-input` unless `sha256` is one in lower-case hex. */
export function checkSha256(sha256: string): void {
  if (isSha256(sha256)) return;
  throw invalidInput('the artifact id', [{ path: 'sha256', message: 'must be a SHA-256 of 64 lower-case hex digits' }]);
}

/** Checks the arguments of a read. @throws `invalid-input`. */
export function checkRead(sha256: string, options: GetBlobOptions): void {
  checkSha256(sha256);
  const issues: InputIssue[] = [];
  for (const field of ['offset', 'length'] as const) {
    const value = options[field];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0)) {
      issues.push({ path: field, message: 'must be a whole number of bytes, not negative' });
    }
  }
  if (issues.length > 0) throw invalidInput('the range of the artifact', issues);
}

/** The part of a blob of `sizeBytes` that a read asks for: what lies beyond its end is left out. */
export function clipRange(
  options: GetBlobOptions,
  sizeBytes: number,
): { readonly start: number; readonly end: number } {
  const start = Math.min(options.offset ?? 0, sizeBytes);
  return { start, end: Math.min(start + (options.length ?? sizeBytes), sizeBytes) };
}

/** The error for a blob that is not stored. */
export function blobNotFound(sha256: string): BringupError {
  return new BringupError(
    'artifact-not-found',
    `no artifact with SHA-256 ${sha256} is stored; it was never stored here or was deleted since`,
    { details: { sha256 } },
  );
}

/** The error for a blob whose bytes no longer have their hash. */
export function blobCorrupted(sha256: string, place: string): BringupError {
  return new BringupError(
    'artifact-corrupted',
    `the bytes stored at ${place} no longer have the SHA-256 ${sha256}; store the artifact again, and check the disk`,
    { details: { sha256, place } },
  );
}

/** The error for bytes that are not the ones announced. */
export function blobMismatch(expected: string, actual: string): BringupError {
  return new BringupError(
    'checksum-mismatch',
    `the bytes to store have the SHA-256 ${actual} instead of ${expected}; nothing was stored, transfer them again`,
    { retryable: true, details: { expected, actual } },
  );
}
