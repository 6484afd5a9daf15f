import type { Clock } from '../contracts/runtime.ts';
import type { ByteSource, TransferReceipt } from '../contracts/shell.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { PartialDownload } from '../model/partial-download.ts';
import type { Deadline } from './deadline.ts';

/**
 * The chunks of a source, under the deadline, none of them later than the stall limit. The source is
 * told to stop but not waited for: one that hangs would hold up the clean-up.
 */
export async function* unstalled(
  clock: Clock,
  deadline: Deadline,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const stalled = Promise.withResolvers<never>();
      using _timer = clock.timer(limits.transferStallMs, () => stalled.reject(stallError()));
      const { done, value } = await deadline.race(Promise.race([iterator.next(), stalled.promise]));
      if (done === true) return;
      yield value;
    }
  } finally {
    void iterator.return?.().catch(() => {});
  }
}

function stallError(): BringupError {
  return new BringupError('transfer-failed', `The source gave no byte for ${limits.transferStallMs} ms.`, {
    retryable: true,
  });
}

/** @throws unless the source, what was sent and what was stored are the same bytes. */
export function checkReceipt(path: string, source: ByteSource, sent: TransferReceipt, stored: TransferReceipt): void {
  if (sent.sizeBytes !== source.sizeBytes) {
    throw new BringupError(
      'transfer-failed',
      `The source for ${path} has ${source.sizeBytes} bytes, but gave ${sent.sizeBytes > source.sizeBytes ? 'more' : sent.sizeBytes}. Did it change meanwhile?`,
      { details: { path, expectedBytes: source.sizeBytes } },
    );
  }
  const expected = source.sha256 ?? sent.sha256;
  for (const found of [sent.sha256, stored.sha256]) {
    if (found !== expected) throw checksumError(path, expected, found);
  }
}

/** The `checksum-mismatch` of a transfer. */
export function checksumError(path: string, expected: string, found: string): BringupError {
  return new BringupError(
    'checksum-mismatch',
    `${path} should have SHA-256 ${expected}, but has ${found}. Transfer it again.`,
    { retryable: true, details: { path, expected, found } },
  );
}

/** The `checksum-mismatch` of a download that can't go on: what is here already is no longer the file's beginning. */
export function changedSince(path: string, part: PartialDownload): BringupError {
  return new BringupError(
    'checksum-mismatch',
    `${path} has changed: it no longer begins with the ${part.sizeBytes} bytes that were downloaded. Download it from its beginning.`,
    { details: { path, sizeBytes: part.sizeBytes } },
  );
}

/** A failure of a file system during a transfer, as ours. */
export function transferError(error: unknown, path: string): BringupError {
  if (isBringupError(error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new BringupError('disk-full', `No space left for ${path}. Free some, or choose another place.`, {
      cause: error,
      details: { path },
    });
  }
  return new BringupError('transfer-failed', `Transfer of ${path} failed: ${message}`, {
    cause: error,
    details: { path },
  });
}
