import type { ArtifactStorage, BlobInfo } from '../contracts/artifact-storage.ts';
import { collect, failure, noise, sha256 } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** One storage to run the suite against, empty, and what can be done to it. */
export interface ArtifactStorageContractFixture {
  readonly storage: ArtifactStorage;
  /** Damages the stored bytes of a blob behind the storage's back. */
  readonly corrupt?: (sha256: string) => void | Promise<void>;
  /** A number of bytes that don't fit in, when the storage is that small. At least 4 MiB. */
  readonly tooManyBytes?: number;
  /** What is left of puts that failed, as a person would find it where the bytes are kept. */
  readonly leftovers?: () => Promise<readonly string[]>;
  /** Takes everything down, the storage included. */
  readonly dispose: () => Promise<void>;
}

/** What {@link artifactStorageContract} is given. */
export interface ArtifactStorageContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Tests that need one of these are left out. Default: none. */
  readonly lacks?: readonly ('corrupt' | 'tooManyBytes')[];
  /** Called for each test. */
  readonly setup: () => Promise<ArtifactStorageContractFixture>;
}

/**
 * Registers the vitest suite that every {@link ArtifactStorage} passes. Tests of what the fixture
 * `lacks` are left out.
 * @throws `dependency-missing` outside a vitest run.
 */
export function artifactStorageContract({ name, setup, lacks = [] }: ArtifactStorageContractOptions): void {
  const { vitest, fc } = testFramework();
  const { describe, expect, it } = vitest;
  const needing = (
    ability: 'corrupt' | 'tooManyBytes',
  ): ((title: string, test: () => Promise<void>, timeoutMs?: number) => void) =>
    lacks.includes(ability) ? () => undefined : (title, test, timeoutMs) => it(title, test, timeoutMs);

  describe(`artifact storage contract: ${name}`, () => {
    let fixture: ArtifactStorageContractFixture;
    vitest.beforeEach(async () => {
      fixture = await setup();
    });
    vitest.afterEach(() => fixture.dispose());

    const listed = async (): Promise<BlobInfo[]> => (await Array.fromAsync(fixture.storage.list())).sort(byHash);
    const expectNothing = async (): Promise<void> => {
      expect(await listed()).toEqual([]);
      expect(await fixture.leftovers?.()).toEqual(fixture.leftovers === undefined ? undefined : []);
    };

    describe('put and get', () => {
      it('gives back the bytes, whatever the chunks they came in', async () => {
        const chunks = fc.array(fc.uint8Array({ maxLength: 2_000 }), { maxLength: 20 });
        await fc.assert(
          fc.asyncProperty(chunks, async (parts) => {
            const bytes = Buffer.concat(parts);
            const info = await fixture.storage.put(streamOf(parts));
            expect(info).toEqual({ sha256: sha256(bytes), sizeBytes: bytes.byteLength });
            expect(bytes.equals(await collect(fixture.storage.get(info.sha256)))).toBe(true);
          }),
          { numRuns: 100 },
        );
      }, 60_000);

      it('keeps its own copy of chunks whose buffer the source uses again', async () => {
        const buffer = Buffer.alloc(700_000);
        const info = await fixture.storage.put(
          (async function* () {
            for (const fill of [1, 2, 3]) yield buffer.fill(fill);
          })(),
        );
        const bytes = Buffer.concat([1, 2, 3].map((fill) => Buffer.alloc(700_000, fill)));
        expect(info).toEqual({ sha256: sha256(bytes), sizeBytes: bytes.byteLength });
      });

      it('holds many mebibytes in odd chunks, and gives any range of them', async () => {
        const bytes = noise(3 * 1024 * 1024 + 17);
        const { sha256: id } = await fixture.storage.put(streamOf(inChunks(bytes, 100_003)));
        expect(bytes.equals(await collect(fixture.storage.get(id)))).toBe(true);
        const position = fc.oneof(
          fc.nat(bytes.byteLength + 10),
          fc.constantFrom(0, 1024 * 1024, 2 * 1024 * 1024, bytes.byteLength),
        );
        await fc.assert(
          fc.asyncProperty(position, fc.option(position, { nil: undefined }), async (offset, length) => {
            const part = await collect(fixture.storage.get(id, length === undefined ? { offset } : { offset, length }));
            expect(bytes.subarray(offset, length === undefined ? undefined : offset + length).equals(part)).toBe(true);
          }),
          { numRuns: 100 },
        );
      }, 60_000);

      it('gives chunks that stay as they are while more are read', async () => {
        const bytes = noise(3 * 1024 * 1024);
        const { sha256: id } = await fixture.storage.put(streamOf([bytes]));
        const kept = await Array.fromAsync(fixture.storage.get(id));
        expect(sha256(Buffer.concat(kept))).toBe(id);
      });

      it('stores the same bytes once, also when put at the same time', async () => {
        const bytes = noise(300_000);
        const infos = await Promise.all(
          Array.from({ length: 8 }, () => fixture.storage.put(streamOf(inChunks(bytes, 7_000)))),
        );
        expect(new Set(infos.map((info) => info.sha256))).toEqual(new Set([sha256(bytes)]));
        expect(await listed()).toEqual([{ sha256: sha256(bytes), sizeBytes: bytes.byteLength }]);
        expect(bytes.equals(await collect(fixture.storage.get(sha256(bytes))))).toBe(true);
      });

      it('can be left in the middle of a read', async () => {
        const { sha256: id } = await fixture.storage.put(streamOf([noise(3 * 1024 * 1024)]));
        for await (const chunk of fixture.storage.get(id)) {
          expect(chunk.byteLength).toBeGreaterThan(0);
          break;
        }
        await fixture.storage.delete(id);
        await expectNothing();
      });
    });

    describe('what goes wrong', () => {
      it('stores nothing when the bytes are not the ones announced', async () => {
        const announced = sha256(noise(10, 2));
        await failure(fixture.storage.put(streamOf([noise(5_000)]), { sha256: announced }), 'checksum-mismatch');
        await expectNothing();
      });

      it('takes bytes that are the ones announced', async () => {
        const bytes = noise(5_000);
        await fixture.storage.put(streamOf([bytes]), { sha256: sha256(bytes) });
        expect(await fixture.storage.stat(sha256(bytes))).toEqual({ sha256: sha256(bytes), sizeBytes: 5_000 });
      });

      it('stores nothing of a source that fails, and passes its error on', async () => {
        const broken = new Error('the cable fell out');
        const source = (async function* () {
          yield noise(2 * 1024 * 1024);
          throw broken;
        })();
        await expect(fixture.storage.put(source)).rejects.toBe(broken);
        await expectNothing();
      });

      it('stores nothing of a put that is aborted while its source is stuck', async () => {
        const abort = new AbortController();
        const source = (async function* () {
          yield noise(2 * 1024 * 1024);
          abort.abort();
          await new Promise<never>(() => {});
        })();
        await failure(fixture.storage.put(source, { signal: abort.signal }), 'aborted');
        await expectNothing();
      });

      it('has either stored the bytes or nothing when a put is aborted at any moment', async () => {
        await fc.assert(
          fc.asyncProperty(fc.oneof(fc.nat(60), fc.nat(4_000)), async (turns) => {
            const abort = new AbortController();
            const put = fixture.storage.put(streamOf([noise(1_000, turns)]), { signal: abort.signal });
            const settled = put.then(
              (info) => [info],
              () => [],
            );
            for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
            abort.abort();
            const stored = await settled;
            expect(await listed()).toEqual(stored);
            for (const { sha256: id } of stored) await fixture.storage.delete(id);
            await expectNothing();
          }),
          { numRuns: 150 },
        );
      }, 60_000);

      it('gives up a put at its deadline', async () => {
        const source = (async function* () {
          yield noise(1_000);
          await new Promise<never>(() => {});
        })();
        await failure(fixture.storage.put(source, { timeoutMs: 20 }), 'deadline-exceeded');
        await expectNothing();
      });

      it('lets a source that it gave up clean up', async () => {
        const { promise: cleaned, resolve } = Promise.withResolvers<void>();
        const abort = new AbortController();
        const source = (async function* () {
          try {
            for (;;) {
              yield noise(1_000);
              abort.abort();
            }
          } finally {
            resolve();
          }
        })();
        await failure(fixture.storage.put(source, { signal: abort.signal }), 'aborted');
        await cleaned;
      });

      it('asks nothing of a source when the signal is aborted already', async () => {
        const abort = new AbortController();
        abort.abort();
        let asked = false;
        const source = (async function* () {
          asked = true;
          yield noise(1);
        })();
        await failure(fixture.storage.put(source, { signal: abort.signal }), 'aborted');
        expect(asked).toBe(false);
      });

      it('ends a read when it is aborted in between', async () => {
        const { sha256: id } = await fixture.storage.put(streamOf([noise(3 * 1024 * 1024)]));
        const abort = new AbortController();
        const read = async (): Promise<void> => {
          for await (const _chunk of fixture.storage.get(id, { signal: abort.signal })) abort.abort();
        };
        await failure(read, 'aborted');
      });

      it('tells a blob that is not stored, before the first byte', async () => {
        await failure(
          fixture.storage
            .get(sha256(noise(1)))
            [Symbol.asyncIterator]()
            .next(),
          'artifact-not-found',
        );
        expect(await fixture.storage.stat(sha256(noise(1)))).toBeUndefined();
      });

      it('refuses ids that are not a SHA-256, so that none can be a path', async () => {
        for (const id of [
          '',
          '..',
          '../../etc/passwd',
          '/etc/passwd',
          'a'.repeat(63),
          'A'.repeat(64),
          `${'a'.repeat(62)}/.`,
        ]) {
          await failure(() => collect(fixture.storage.get(id)), 'invalid-input');
          await failure(() => fixture.storage.stat(id), 'invalid-input');
          await failure(() => fixture.storage.delete(id), 'invalid-input');
          await failure(() => fixture.storage.put(streamOf([]), { sha256: id }), 'invalid-input');
          await failure(async () => fixture.storage.locate(id), 'invalid-input');
        }
      });

      it('refuses ranges that are none', async () => {
        const { sha256: id } = await fixture.storage.put(streamOf([noise(10)]));
        for (const range of [{ offset: -1 }, { length: -1 }, { offset: 0.5 }, { length: Number.NaN }]) {
          await failure(() => collect(fixture.storage.get(id, range)), 'invalid-input');
        }
      });

      needing('corrupt')('tells damaged bytes instead of ending, and is healed by the right ones', async () => {
        if (fixture.corrupt === undefined) throw new TypeError('The fixture has no corrupt; name it in `lacks`.');
        for (const bytes of [noise(3 * 1024 * 1024), noise(1), Buffer.alloc(0)]) {
          const { sha256: id } = await fixture.storage.put(streamOf([bytes]));
          await fixture.corrupt(id);
          await failure(() => collect(fixture.storage.get(id)), 'artifact-corrupted');
          await fixture.storage.put(streamOf([bytes]));
          expect(bytes.equals(await collect(fixture.storage.get(id)))).toBe(true);
        }
      });

      needing('tooManyBytes')(
        'says when it is full, keeps what it has and goes on after a deletion',
        async () => {
          if (fixture.tooManyBytes === undefined)
            throw new TypeError('The fixture has no tooManyBytes; name it in `lacks`.');
          const kept = noise(2 * 1024 * 1024);
          const { sha256: id } = await fixture.storage.put(streamOf([kept]));
          const free = await fixture.storage.freeBytes();
          await failure(fixture.storage.put(zeros(fixture.tooManyBytes)), 'storage-full');
          expect(await listed()).toEqual([{ sha256: id, sizeBytes: kept.byteLength }]);
          expect((await fixture.leftovers?.()) ?? []).toEqual([]);
          expect(await fixture.storage.freeBytes()).toBe(free);
          await fixture.storage.delete(id);
          await fixture.storage.put(streamOf([kept]));
          expect(kept.equals(await collect(fixture.storage.get(id)))).toBe(true);
        },
        60_000,
      );
    });

    describe('keeping house', () => {
      it('lists what is stored, and no longer what was deleted', async () => {
        const blobs = [noise(0), noise(1), noise(70_000)];
        for (const bytes of blobs) await fixture.storage.put(streamOf([bytes]));
        const infos = blobs.map((bytes) => ({ sha256: sha256(bytes), sizeBytes: bytes.byteLength })).sort(byHash);
        expect(await listed()).toEqual(infos);
        await fixture.storage.delete(infos[1]?.sha256 ?? '');
        expect(await listed()).toEqual([infos[0], infos[2]]);
        expect(await fixture.storage.stat(infos[1]?.sha256 ?? '')).toBeUndefined();
      });

      it('may be asked twice to delete, and for what it never had', async () => {
        const { sha256: id } = await fixture.storage.put(streamOf([noise(10)]));
        await fixture.storage.delete(id);
        await fixture.storage.delete(id);
        await fixture.storage.delete(sha256(noise(11)));
        await failure(() => collect(fixture.storage.get(id)), 'artifact-not-found');
      });

      it('is empty before the first put', async () => {
        expect(await listed()).toEqual([]);
        const free = await fixture.storage.freeBytes();
        expect(free === undefined || free > 0).toBe(true);
      });
    });

    describe('disposing', () => {
      it('may be done twice, and ends what is under way', async () => {
        const { promise: reading, resolve } = Promise.withResolvers<void>();
        const put = fixture.storage.put(
          (async function* () {
            yield noise(1_000);
            resolve();
            await new Promise<never>(() => {});
          })(),
        );
        const ended = failure(put, 'aborted');
        await reading;
        await fixture.storage[Symbol.asyncDispose]();
        await fixture.storage[Symbol.asyncDispose]();
        await ended;
        expect((await fixture.leftovers?.()) ?? []).toEqual([]);
      });

      it('makes every later call a mistake of the caller', async () => {
        await fixture.storage[Symbol.asyncDispose]();
        const id = sha256(noise(1));
        await expect(fixture.storage.put(streamOf([]))).rejects.toThrow(TypeError);
        await expect(collect(fixture.storage.get(id))).rejects.toThrow(TypeError);
        await expect(fixture.storage.stat(id)).rejects.toThrow(TypeError);
        await expect(fixture.storage.delete(id)).rejects.toThrow(TypeError);
        await expect(fixture.storage.freeBytes()).rejects.toThrow(TypeError);
      });
    });
  });
}

const byHash = (a: BlobInfo, b: BlobInfo): number => a.sha256.localeCompare(b.sha256);

async function* streamOf(parts: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* parts;
}

function inChunks(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.byteLength / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

async function* zeros(sizeBytes: number): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(256 * 1024);
  for (let at = 0; at < sizeBytes; at += chunk.byteLength) yield chunk.subarray(0, sizeBytes - at);
}
