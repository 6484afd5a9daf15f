import { createHash, type Hash } from 'node:crypto';

/**
 * What downloads of one file have brought so far: how much, and its hash. A download adds what it
 * yields, so the same object given to the next one makes it go on there. For bytes that outlived the
 * program that downloaded them, {@link PartialDownload.add} them once more.
 */
export class PartialDownload {
  readonly #hash: Hash = createHash('sha256');
  #sizeBytes = 0;

  /** Bytes that are here. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Counts the next bytes of the file as being here. */
  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.byteLength;
  }

  /** Lower-case hex SHA-256 of the bytes that are here. */
  sha256(): string {
    return this.#hash.copy().digest('hex');
  }
}
