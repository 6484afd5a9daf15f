import { createHash } from 'node:crypto';
import type { BlobInfo } from '../contracts/artifact-storage.ts';
import { limits } from '../limits.ts';
import type { Deadline } from '../local/deadline.ts';
import { blobMismatch } from './blob.ts';
import type { OpenedS3 } from './s3-client.ts';

/** What an upload needs to know. */
export interface S3Upload extends OpenedS3 {
  readonly bucket: string;
  /** Where a blob belongs. */
  readonly keyOf: (sha256: string) => string;
  /** Where bytes lie whose hash is not known yet. */
  readonly temporaryKey: string;
  readonly partBytes: number;
  readonly deadline: Deadline;
}

/**
 * Stores a stream under its hash. What fits in one part is sent in one piece. More is sent in parts,
 * hashed on the way, and put together only when the hash is right: under the blob's own key where the
 * hash was announced, else under a temporary key, from where the service copies it.
 */
export async function uploadBlob(
  upload: S3Upload,
  bytes: AsyncIterable<Uint8Array>,
  expected: string | undefined,
): Promise<BlobInfo> {
  const parts = inParts(bytes, upload);
  const hash = createHash('sha256');
  const first = await parts.next();
  const head = first.done === true ? Buffer.alloc(0) : first.value;
  hash.update(head);
  if (head.byteLength < upload.partBytes) {
    const sha256 = hash.digest('hex');
    if (expected !== undefined && sha256 !== expected) throw blobMismatch(expected, sha256);
    await putWhole(upload, upload.keyOf(sha256), head);
    return { sha256, sizeBytes: head.byteLength };
  }
  const key = expected === undefined ? upload.temporaryKey : upload.keyOf(expected);
  const multipart = new Multipart(upload, key);
  try {
    await multipart.add(head);
    let sizeBytes = head.byteLength;
    for await (const part of parts) {
      hash.update(part);
      sizeBytes += part.byteLength;
      await multipart.add(part);
    }
    const sha256 = hash.digest('hex');
    if (expected !== undefined && sha256 !== expected) throw blobMismatch(expected, sha256);
    await multipart.complete();
    if (expected === undefined) await moveTo(upload, sha256, sizeBytes);
    return { sha256, sizeBytes };
  } catch (error) {
    await multipart.abort();
    await parts.return(undefined);
    throw error;
  }
}

/** Parts of a size, each in memory of its own. The source is left when the reader is. */
async function* inParts(
  bytes: AsyncIterable<Uint8Array>,
  { partBytes, deadline }: S3Upload,
): AsyncGenerator<Buffer, void> {
  const source = bytes[Symbol.asyncIterator]();
  let ended = false;
  let chunks: Buffer[] = [];
  let filled = 0;
  try {
    for (;;) {
      const { done, value } = await deadline.race(source.next());
      if (done === true) break;
      for (let at = 0; at < value.byteLength;) {
        const piece = Buffer.from(value.subarray(at, at + partBytes - filled));
        chunks.push(piece);
        filled += piece.byteLength;
        at += piece.byteLength;
        if (filled < partBytes) continue;
        const part = Buffer.concat(chunks);
        [chunks, filled] = [[], 0];
        yield part;
      }
    }
    ended = true;
    if (filled > 0) yield Buffer.concat(chunks);
  } finally {
    // Not awaited: a source that is stuck in a read ends only after that read.
    if (!ended) source.return?.().catch(() => undefined);
  }
}

async function putWhole({ sdk, client, bucket, deadline }: S3Upload, Key: string, body: Buffer): Promise<void> {
  deadline.signal.throwIfAborted();
  // Once sent it can't be taken back: whether it was stored is only known when it has answered.
  await client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key, Body: body, ContentMD5: md5(body) }));
}

async function moveTo(upload: S3Upload, sha256: string, sizeBytes: number): Promise<void> {
  const { sdk, client, bucket, deadline, keyOf, temporaryKey } = upload;
  const CopySource = `${bucket}/${encodeURI(temporaryKey)}`;
  const Key = keyOf(sha256);
  try {
    deadline.signal.throwIfAborted();
    if (sizeBytes <= limits.s3CopyBytes) {
      await client.send(new sdk.CopyObjectCommand({ Bucket: bucket, Key, CopySource }));
      return;
    }
    const multipart = new Multipart(upload, Key);
    try {
      for (let start = 0; start < sizeBytes; start += limits.s3CopyBytes) {
        const end = Math.min(start + limits.s3CopyBytes, sizeBytes) - 1;
        await multipart.copy(CopySource, `bytes=${start}-${end}`);
      }
      await multipart.complete();
    } catch (error) {
      await multipart.abort();
      throw error;
    }
  } finally {
    await client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: temporaryKey })).catch(() => undefined);
  }
}

/** Parts on their way to one object. A few are sent at a time. */
class Multipart {
  readonly #upload: S3Upload;
  readonly #key: string;
  readonly #sending = new Set<Promise<void>>();
  readonly #tags: { PartNumber: number; ETag: string }[] = [];
  #id: string | undefined;
  #count = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(upload: S3Upload, key: string) {
    this.#upload = upload;
    this.#key = key;
  }

  async add(part: Buffer): Promise<void> {
    const { sdk, client, bucket, deadline } = this.#upload;
    const place = await this.#next();
    const sending = client
      .send(
        new sdk.UploadPartCommand({ Bucket: bucket, Key: this.#key, ...place, Body: part, ContentMD5: md5(part) }),
        { abortSignal: deadline.signal },
      )
      .then(
        ({ ETag = '' }) => void this.#tags.push({ PartNumber: place.PartNumber, ETag }),
        (error: unknown) => void (this.#failure ??= { error }),
      )
      .finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
    if (this.#sending.size >= limits.s3PartsAtATime) await deadline.race(Promise.race(this.#sending));
    this.#check();
  }

  async copy(CopySource: string, CopySourceRange: string): Promise<void> {
    const { sdk, client, bucket, deadline } = this.#upload;
    const place = await this.#next();
    const { CopyPartResult } = await client.send(
      new sdk.UploadPartCopyCommand({ Bucket: bucket, Key: this.#key, ...place, CopySource, CopySourceRange }),
      { abortSignal: deadline.signal },
    );
    this.#tags.push({ PartNumber: place.PartNumber, ETag: CopyPartResult?.ETag ?? '' });
  }

  async complete(): Promise<void> {
    const { sdk, client, bucket, deadline } = this.#upload;
    await deadline.race(Promise.all(this.#sending));
    this.#check();
    deadline.signal.throwIfAborted();
    await client.send(
      new sdk.CompleteMultipartUploadCommand({
        Bucket: bucket,
        Key: this.#key,
        UploadId: this.#id,
        MultipartUpload: { Parts: this.#tags.toSorted((a, b) => a.PartNumber - b.PartNumber) },
      }),
    );
    this.#id = undefined;
  }

  /** Lets the service throw away what it has of an object that was not completed. */
  async abort(): Promise<void> {
    if (this.#id === undefined) return;
    const { sdk, client, bucket } = this.#upload;
    await Promise.all(this.#sending);
    await client
      .send(new sdk.AbortMultipartUploadCommand({ Bucket: bucket, Key: this.#key, UploadId: this.#id }))
      .catch(() => undefined);
  }

  async #next(): Promise<{ readonly PartNumber: number; readonly UploadId: string | undefined }> {
    const { sdk, client, bucket } = this.#upload;
    if (this.#id === undefined) {
      const begun = await client.send(new sdk.CreateMultipartUploadCommand({ Bucket: bucket, Key: this.#key }));
      this.#id = begun.UploadId;
    }
    this.#count += 1;
    return { PartNumber: this.#count, UploadId: this.#id };
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** What every S3-compatible service checks on arrival. */
function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('base64');
}
