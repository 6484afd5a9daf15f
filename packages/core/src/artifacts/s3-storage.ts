import { createHash } from 'node:crypto';
import { withDeadline } from '../async.ts';
import type { ArtifactStorage, BlobInfo, GetBlobOptions, PutBlobOptions } from '../contracts/artifact-storage.ts';
import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import { BringupError, invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import { startDeadline, type Deadline } from '../local/deadline.ts';
import { newId, systemClock, systemRandom } from '../runtime.ts';
import { Puts } from './puts.ts';
import { blobCorrupted, blobNotFound, checkRead, checkSha256, isSha256 } from './blob.ts';
import { isBeyondEnd, isMissing, openS3, s3Failure, type OpenedS3, type S3Connection } from './s3-client.ts';
import { uploadBlob } from './s3-upload.ts';

/** What {@link s3ArtifactStorage} takes. */
export interface S3ArtifactStorageOptions extends S3Connection {
  readonly bucket: string;
  /** Put before all names in the bucket, such as `bringup/`. Default: nothing. */
  readonly prefix?: string;
  /** Size of the parts that larger artifacts are sent in; a few are in memory. Default 8 MiB, at least 5 MiB. */
  readonly partBytes?: number;
  /** Time for deadlines. Default: the machine's. */
  readonly clock?: Clock;
  /** For the names of unfinished uploads. Default: the runtime's. */
  readonly random?: Random;
}

/**
 * Keeps artifacts in a bucket of Amazon S3 or a service that is compatible with it, named by their
 * content: `PREFIXsha256/ab/cdef…`. Needs the package `@aws-sdk/client-s3` beside this one. An artifact
 * shows once all of it has arrived with the right hash. Reads are verified like those of every storage.
 * A rule of the bucket should end incomplete multipart uploads and remove what is old below `PREFIXtmp/`:
 * a process that is killed leaves such behind. Errors of the service are `store-failed`.
 * @throws `invalid-input` for a part size that S3 does not take.
 *
 * @example
 * ```ts
 * await using storage = s3ArtifactStorage({
 *   endpoint: 'https://s3.lab.example',
 *   bucket: 'artifacts',
 *   credentials: { accessKeyId: 'lab', secretAccessKey: new Secret(process.env.S3_SECRET ?? '') },
 * });
 * ```
 */
export function s3ArtifactStorage(options: S3ArtifactStorageOptions): ArtifactStorage {
  const { partBytes = limits.s3PartBytes } = options;
  if (!Number.isSafeInteger(partBytes) || partBytes < limits.s3PartMinBytes) {
    throw invalidInput('the artifact storage', [
      { path: 'partBytes', message: `must be at least ${limits.s3PartMinBytes}` },
    ]);
  }
  return new S3ArtifactStorage({ ...options, partBytes });
}

class S3ArtifactStorage implements ArtifactStorage {
  readonly #options: S3ArtifactStorageOptions & { readonly partBytes: number };
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #place: string;
  readonly #prefix: string;
  readonly #life = new AbortController();
  readonly #puts: Puts;
  #opened: Promise<OpenedS3> | undefined;

  constructor(options: S3ArtifactStorageOptions & { readonly partBytes: number }) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#puts = new Puts(this.#clock);
    this.#random = options.random ?? systemRandom;
    this.#prefix = options.prefix ?? '';
    this.#place = `s3://${options.bucket}/${this.#prefix}`;
  }

  async put(bytes: AsyncIterable<Uint8Array>, options: PutBlobOptions = {}): Promise<BlobInfo> {
    if (options.sha256 !== undefined) checkSha256(options.sha256);
    const deadline = this.#start('storing an artifact', options);
    return this.#puts.finish(deadline, this.#upload(bytes, options.sha256, deadline));
  }

  async #upload(bytes: AsyncIterable<Uint8Array>, sha256: string | undefined, deadline: Deadline): Promise<BlobInfo> {
    let source: { readonly error: unknown } | undefined;
    const watched = (async function* () {
      try {
        for await (const chunk of bytes) {
          // A mistake of the program, which is told as such.
          if (!(chunk instanceof Uint8Array)) {
            throw new TypeError('an artifact is stored from chunks of bytes (Uint8Array)');
          }
          yield chunk;
        }
      } catch (error) {
        source = { error };
        throw error;
      }
    })();
    try {
      const upload = {
        ...(await this.#open()),
        bucket: this.#options.bucket,
        keyOf: (hash: string) => this.#key(hash),
        temporaryKey: `${this.#prefix}tmp/${newId(this.#clock, this.#random)}`,
        partBytes: this.#options.partBytes,
        deadline,
      };
      return await uploadBlob(upload, watched, sha256);
    } catch (error) {
      // The source's own error is passed on as it is.
      if (source !== undefined) throw source.error;
      if (deadline.signal.aborted) throw deadline.signal.reason;
      throw s3Failure(error, this.#place, this.#options);
    }
  }

  async *get(sha256: string, options: GetBlobOptions = {}): AsyncGenerator<Uint8Array, void> {
    checkRead(sha256, options);
    const deadline = this.#start('reading an artifact', options);
    const { offset = 0, length = Number.MAX_SAFE_INTEGER } = options;
    let body: { destroy?: () => void } | undefined;
    try {
      const object = await this.#get(sha256, deadline, offset);
      body = object?.body;
      if (object === undefined) return;
      const hash = offset === 0 ? createHash('sha256') : undefined;
      let left = Math.min(length, object.sizeBytes - offset);
      let read = 0;
      for (const chunks = object.body[Symbol.asyncIterator](); left > 0;) {
        const { done, value } = await this.#bounded(deadline, 'reading', Promise.resolve(chunks.next()));
        if (done === true) break;
        const chunk = value.subarray(0, left);
        read += chunk.byteLength;
        left -= chunk.byteLength;
        hash?.update(chunk);
        yield chunk;
        deadline.signal.throwIfAborted();
      }
      if (hash !== undefined && read === object.sizeBytes && hash.digest('hex') !== sha256) {
        throw blobCorrupted(sha256, this.locate(sha256));
      }
      if (left > 0) {
        throw new BringupError('store-failed', `reading ${this.locate(sha256)} ended after ${read} bytes; try again`, {
          retryable: true,
          details: { place: this.#place },
        });
      }
    } finally {
      deadline[Symbol.dispose]();
      body?.destroy?.();
    }
  }

  /** Undefined when the range begins beyond the end. */
  async #get(
    sha256: string,
    deadline: Deadline,
    offset: number,
  ): Promise<{ body: AsyncIterable<Uint8Array> & { destroy?: () => void }; sizeBytes: number } | undefined> {
    const { sdk, client } = await this.#bounded(deadline, 'connecting', this.#open());
    const range = offset === 0 ? {} : { Range: `bytes=${offset}-` };
    const command = new sdk.GetObjectCommand({ Bucket: this.#options.bucket, Key: this.#key(sha256), ...range });
    const sending = client.send(command, { abortSignal: deadline.signal }).catch((error: unknown) => {
      if (isBeyondEnd(error)) return undefined;
      throw isMissing(error) ? blobNotFound(sha256) : error;
    });
    const answer = await this.#bounded(deadline, 'reading', sending);
    if (answer?.Body === undefined) return undefined;
    if (offset > 0 && answer.ContentRange?.startsWith(`bytes ${offset}-`) !== true) {
      throw this.#nonsense('it gives another part of an artifact than was asked for');
    }
    // What has no size could not be told from a part of it, and its hash would prove nothing.
    if (!isSize(answer.ContentLength)) throw this.#nonsense('it does not tell the size of an artifact');
    return { body: answer.Body as AsyncIterable<Uint8Array>, sizeBytes: answer.ContentLength + offset };
  }

  async stat(sha256: string, options: CallOptions = {}): Promise<BlobInfo | undefined> {
    checkSha256(sha256);
    return this.#call('looking up an artifact', options, async ({ sdk, client }, abortSignal) => {
      const command = new sdk.HeadObjectCommand({ Bucket: this.#options.bucket, Key: this.#key(sha256) });
      try {
        const { ContentLength } = await client.send(command, { abortSignal });
        if (!isSize(ContentLength)) throw this.#nonsense('it does not tell the size of an artifact');
        return { sha256, sizeBytes: ContentLength };
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
  }

  async delete(sha256: string, options: CallOptions = {}): Promise<void> {
    checkSha256(sha256);
    await this.#call('deleting an artifact', options, async ({ sdk, client }, abortSignal) => {
      const command = new sdk.DeleteObjectCommand({ Bucket: this.#options.bucket, Key: this.#key(sha256) });
      await client.send(command, { abortSignal }).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
    });
  }

  async *list(options: CallOptions = {}): AsyncGenerator<BlobInfo, void> {
    const Prefix = `${this.#prefix}sha256/`;
    let empty = 0;
    for (let token: string | undefined, more = true; more;) {
      const page = await this.#call('listing the artifacts', options, ({ sdk, client }, abortSignal) => {
        const from = token === undefined ? {} : { ContinuationToken: token };
        return client.send(new sdk.ListObjectsV2Command({ Bucket: this.#options.bucket, Prefix, ...from }), {
          abortSignal,
        });
      });
      const blobs = (page.Contents ?? []).flatMap(({ Key = '', Size = 0 }) => {
        const sha256 = Key.slice(Prefix.length).replace('/', '');
        return isSha256(sha256) && isSize(Size) ? [{ sha256, sizeBytes: Size }] : [];
      });
      yield* blobs;
      const before = token;
      token = page.NextContinuationToken;
      more = page.IsTruncated === true && token !== undefined;
      empty = blobs.length === 0 ? empty + 1 : 0;
      if (more && (token === before || empty > limits.s3EmptyPages)) throw this.#nonsense('its listing has no end');
    }
  }

  /** A service does not tell. */
  async freeBytes(_options: CallOptions = {}): Promise<undefined> {
    this.#checkOpen();
  }

  locate(sha256: string): string {
    checkSha256(sha256);
    return `s3://${this.#options.bucket}/${this.#key(sha256)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new BringupError('aborted', `the artifact storage at ${this.#place} was closed`));
    await this.#puts.settled();
    const opened = await this.#opened?.catch(() => undefined);
    if (this.#options.client === undefined) opened?.client.destroy();
  }

  #nonsense(what: string): BringupError {
    return new BringupError('store-failed', `the artifact storage at ${this.#place} can't be used: ${what}`, {
      details: { place: this.#place },
    });
  }

  #key(sha256: string): string {
    return `${this.#prefix}sha256/${sha256.slice(0, 2)}/${sha256.slice(2)}`;
  }

  #open(): Promise<OpenedS3> {
    this.#opened ??= openS3(this.#options, this.#clock);
    return this.#opened;
  }

  #start(what: string, options: CallOptions): Deadline {
    this.#checkOpen();
    return startDeadline(this.#clock, what, options, this.#life.signal);
  }

  #checkOpen(): void {
    if (this.#life.signal.aborted) throw new TypeError(`the artifact storage at ${this.#place} is closed`);
  }

  /** One step within a call, not longer than a healthy service takes. */
  async #bounded<T>(deadline: Deadline, what: string, step: Promise<T>): Promise<T> {
    const bound = { timeoutMs: limits.storageStallMs };
    try {
      return await deadline.race(withDeadline(this.#clock, `${what} at ${this.#place}`, bound, () => step));
    } catch (error) {
      throw deadline.signal.aborted ? deadline.signal.reason : s3Failure(error, this.#place, this.#options);
    }
  }

  async #call<T>(
    what: string,
    options: CallOptions,
    operation: (s3: OpenedS3, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const deadline = this.#start(what, { timeoutMs: limits.storageCallTimeoutMs, ...options });
    try {
      return await deadline.race(this.#open().then((s3) => operation(s3, deadline.signal)));
    } catch (error) {
      throw deadline.signal.aborted ? deadline.signal.reason : s3Failure(error, this.#place, this.#options);
    } finally {
      deadline[Symbol.dispose]();
    }
  }
}

function isSize(value: number | undefined): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
