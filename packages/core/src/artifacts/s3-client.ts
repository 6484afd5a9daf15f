import { pipeline, Readable, Transform } from 'node:stream';
import { withDeadline } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { cleanConsoleText } from '../consoles/console-text.ts';
import { limits } from '../limits.ts';
import { hideSecrets, type Secret } from '../model/secret.ts';

/** Longest of a service's words in an error. */
const quotedChars = 300;

type Sdk = typeof import('@aws-sdk/client-s3');

/** What is needed of an `S3Client` of `@aws-sdk/client-s3`. */
export interface S3ClientLike {
  /** Sends one command and gives its output. */
  send(command: never, options?: { readonly abortSignal?: AbortSignal }): Promise<unknown>;
  /** Closes its connections. */
  destroy(): void;
}

/** How an S3 service is reached. */
export interface S3Connection {
  /** A client that is set up already. It is not closed with the storage. */
  readonly client?: S3ClientLike;
  /** URL of an S3-compatible service. Default: Amazon's for the region. */
  readonly endpoint?: string;
  /** Default `us-east-1`, which most S3-compatible services take. */
  readonly region?: string;
  /** Default: as Amazon's SDK finds them (environment, profile, machine role). */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: Secret;
    readonly sessionToken?: Secret;
  };
  /** Whether the bucket is in the URL's path, as most services want it. Default true with an `endpoint`. */
  readonly forcePathStyle?: boolean;
}

/** Amazon's SDK, loaded when it is first needed, and a client of it. */
export interface OpenedS3 {
  readonly sdk: Sdk;
  readonly client: InstanceType<Sdk['S3Client']>;
}

/** @throws `dependency-missing` when the SDK is not installed. */
export async function openS3(connection: S3Connection, clock: Clock): Promise<OpenedS3> {
  const sdk = await import('@aws-sdk/client-s3').catch((error: unknown) => {
    throw new BringupError(
      'dependency-missing',
      'artifacts in S3 need the package @aws-sdk/client-s3; add it to your dependencies',
      { cause: error, details: { package: '@aws-sdk/client-s3' } },
    );
  });
  const { client, endpoint, region = 'us-east-1', credentials, forcePathStyle = endpoint !== undefined } = connection;
  if (client !== undefined) return { sdk, client: client as unknown as OpenedS3['client'] };
  const own = new sdk.S3Client({
    region,
    forcePathStyle,
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && {
      credentials: {
        accessKeyId: credentials.accessKeyId,
        secretAccessKey: credentials.secretAccessKey.reveal(),
        ...(credentials.sessionToken !== undefined && { sessionToken: credentials.sessionToken.reveal() }),
      },
    }),
    // Many services know no checksums but Content-MD5, which is sent; artifacts are verified by their SHA-256.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Frees what waits for nothing more.
    requestHandler: { connectionTimeout: limits.connectTimeoutMs, socketTimeout: limits.s3OwnWorkMs },
  });
  boundAnswers(own);
  boundWaits(own, clock);
  return { sdk, client: own };
}

/** Answers but those with an artifact's bytes are kept in memory as a whole, errors too: they end at a bound. */
function boundAnswers(client: OpenedS3['client']): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const result = await next(args);
        const response = result.response as { statusCode: number; body: unknown };
        const isBlob = commandName === 'GetObjectCommand' && response.statusCode < 300;
        if (!isBlob && response.body instanceof Readable) response.body = bounded(response.body);
        return result;
      },
    // Next to the connection: before anybody reads it.
    { step: 'deserialize', priority: 'low', name: 'bringupBoundedAnswers', override: true },
  );
}

/** What the service does by itself takes longer than what it is sent. */
const ownWork: readonly unknown[] = ['CopyObjectCommand', 'UploadPartCopyCommand', 'CompleteMultipartUploadCommand'];

/** A service that goes silent holds nobody up: Amazon's SDK would wait for ever. */
function boundWaits(client: OpenedS3['client'], clock: Clock): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      (args) => {
        const timeoutMs = ownWork.includes(commandName) ? limits.s3OwnWorkMs : limits.storageStallMs;
        return withDeadline(clock, `the answer of S3 to a ${String(commandName)}`, { timeoutMs }, () => next(args));
      },
    { step: 'initialize', name: 'bringupBoundedWaits', override: true },
  );
}

function bounded(body: Readable): Readable {
  let bytes = 0;
  const bound = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      bytes += chunk.byteLength;
      if (bytes <= limits.s3AnswerBytes) done(null, chunk);
      else done(new Error(`its answer has more than ${limits.s3AnswerBytes} bytes`));
    },
  });
  // Whoever reads the answer is told by its stream.
  return pipeline(body, bound, () => undefined);
}

/** Whether a service says that there is no such object. */
export function isMissing(error: unknown): boolean {
  return ['NoSuchKey', 'NotFound'].includes((error as Error).name) || statusOf(error) === 404;
}

/** Whether a range begins beyond the end of the object. */
export function isBeyondEnd(error: unknown): boolean {
  return (error as Error).name === 'InvalidRange' || statusOf(error) === 416;
}

/**
 * An error of the service, or on the way to it, as ours. Amazon's holds the request with its credentials and the answer,
 * which may repeat them: of it, only name and message go on.
 */
export function s3Failure(error: unknown, place: string, { credentials }: S3Connection): BringupError {
  if (isBringupError(error)) return error;
  const words = (text: unknown): string =>
    hideSecrets(cleanConsoleText(String(text)), credentials?.secretAccessKey, credentials?.sessionToken)
      .replaceAll(/\s+/g, ' ')
      .slice(0, quotedChars);
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  const details = { place, code: words(name) };
  if (isFull(error)) {
    return new BringupError(
      'storage-full',
      `the artifact storage at ${place} is full; delete artifacts nobody needs, or give it more room`,
      { details },
    );
  }
  const status = statusOf(error);
  return new BringupError(
    'store-failed',
    `the artifact storage at ${place} can't be used: ${words(name)}: ${words(message)}; check its address, bucket and credentials`,
    { retryable: status === undefined || status >= 500, details },
  );
}

function isFull(error: unknown): boolean {
  return /QuotaExceeded|StorageFull|InsufficientStorage/i.test((error as Error).name) || statusOf(error) === 507;
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}
