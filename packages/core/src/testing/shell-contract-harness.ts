import { createHash } from 'node:crypto';
import type { ByteSource, ShellSession } from '../contracts/shell.ts';
import { type ErrorCode, isBringupError } from '../errors.ts';
import { seededRandom } from './random.ts';
import type { ShellAbility, ShellContractFixture, ShellContractOptions } from './shell-contract-fixture.ts';
import { testFramework } from './test-framework.ts';

/** The fixture of a running suite, with what its tests share. */
export class ShellHarness {
  readonly #setup: () => Promise<ShellContractFixture>;
  readonly #lacks: readonly ShellAbility[];
  readonly #sessions: ShellSession[] = [];
  #fixture: ShellContractFixture | undefined;
  #paths = 0;

  constructor({ setup, lacks = [] }: Pick<ShellContractOptions, 'setup' | 'lacks'>) {
    this.#setup = setup;
    this.#lacks = lacks;
  }

  /** Whether tests of the ability are to be left out. */
  lacks(ability: ShellAbility): boolean {
    return this.#lacks.includes(ability);
  }

  /** Registers a test, unless the fixture lacks the ability. */
  needing(ability: ShellAbility): (name: string, test: () => Promise<void>, timeoutMs?: number) => void {
    if (this.lacks(ability)) return () => undefined;
    const { it } = testFramework().vitest;
    return (name, test, timeoutMs) => it(name, test, timeoutMs);
  }

  async start(): Promise<void> {
    this.#fixture = await this.#setup();
  }

  async stop(): Promise<void> {
    await this.#fixture?.dispose();
  }

  get fixture(): ShellContractFixture {
    if (this.#fixture === undefined) throw new TypeError('The suite has not been set up.');
    return this.#fixture;
  }

  /** A fixture of its own, for a test that takes the connector down. */
  separateFixture(): Promise<ShellContractFixture> {
    return this.#setup();
  }

  /** A new session, disposed after the test. */
  async session(): Promise<ShellSession> {
    const session = await this.fixture.connector.connect(this.fixture.target);
    this.#sessions.push(session);
    return session;
  }

  async disposeSessions(): Promise<void> {
    await Promise.all(this.#sessions.splice(0).map((session) => session[Symbol.asyncDispose]()));
  }

  /** A path in the scratch folder that no other test uses. */
  path(name = 'file'): string {
    this.#paths += 1;
    return `${this.fixture.scratchDir}/${this.#paths}-${name}`;
  }
}

/** The mistake of a fixture that neither has an ability nor says that it lacks it. */
export function missing(what: string): TypeError {
  return new TypeError(`The fixture has no ${what}; name it in \`lacks\`.`);
}

/** The error `action` fails with; fails the test when it does not fail, or with another code. */
export async function failure(
  action: Promise<unknown> | (() => Promise<unknown>),
  ...codes: readonly ErrorCode[]
): Promise<Error> {
  const { expect } = testFramework().vitest;
  const error: unknown = await Promise.resolve(typeof action === 'function' ? action() : action).then(
    (value) => expect.fail(`expected ${codes.join(' or ')}, but it succeeded: ${String(value)}`),
    (reason: unknown) => reason,
  );
  if (!isBringupError(error, ...codes)) {
    expect.fail(`expected ${codes.join(' or ')}, got ${String((error as { code?: string }).code)}: ${String(error)}`);
  }
  return error as Error;
}

/** Repeats `attempt` until it says true; the test's own timeout bounds it. */
export async function eventually(attempt: () => Promise<boolean>): Promise<void> {
  while (!(await attempt())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Everything an iterable yields, joined. */
export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

/** The first `length` bytes of a stream, which goes on being read by whoever holds the iterator. */
export async function readAtLeast(iterator: AsyncIterator<Uint8Array>, length: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let have = 0; have < length;) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    parts.push(value);
    have += value.byteLength;
  }
  return Buffer.concat(parts);
}

/** Bytes that look random and are the same in every run. */
export function noise(length: number, seed = 1): Buffer {
  const random = seededRandom(seed);
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(Math.floor(random.next() * 2 ** 32), at);
  for (let at = length - (length % 4); at < length; at += 1) bytes[at] = Math.floor(random.next() * 256);
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes as a source, in chunks of an odd size. */
export function bytesSource(bytes: Uint8Array, known: { readonly sha256?: string } = {}): ByteSource {
  return {
    sizeBytes: bytes.byteLength,
    ...known,
    async *read(offset = 0): AsyncIterable<Uint8Array> {
      const chunkBytes = 100_003;
      for (let at = offset; at < bytes.byteLength; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
    },
  };
}
