import type { ByteSource, TransferProgress } from '../contracts/shell.ts';
import {
  bytesSource,
  collect,
  eventually,
  failure,
  noise,
  sha256,
  type ShellHarness,
} from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** What `upload` and `download` promise. */
export function transferContract(harness: ShellHarness): void {
  uploadContract(harness);
  downloadContract(harness);
}

const old = Buffer.from('what was there before');

function uploadContract(harness: ShellHarness): void {
  const { describe, expect, it } = testFramework().vitest;

  describe('upload', () => {
    it.each([0, 1, 65_536, 8 * 1024 * 1024 + 7])('stores %i bytes and proves it', async (size) => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(size);
      const hash = sha256(bytes);
      expect(await session.upload(bytesSource(bytes), path)).toEqual({ sizeBytes: size, sha256: hash });
      expect((await session.exec(['sha256sum', path])).stdout.toString()).toBe(`${hash}  ${path}\n`);
      expect(sha256(await collect(session.download(path)))).toBe(hash);
    });

    it('takes any file name', async () => {
      const session = await harness.session();
      const path = harness.path(`-it's "a" file; $HOME *?\n\\ ä`);
      await session.upload(bytesSource(old), path);
      expect((await session.exec(['cat', path])).stdout).toEqual(old);
      expect(await collect(session.download(path))).toEqual(old);
    });

    it('replaces the whole file', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(100_000)), path);
      await session.upload(bytesSource(old), path);
      expect((await session.exec(['cat', path])).stdout).toEqual(old);
    });

    harness.needing('posix-sh')('sets the mode it is told', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(Buffer.from('#!/bin/sh\necho ran "$1"\n')), path, { mode: 0o755 });
      expect((await session.exec([path, 'well'])).stdout.toString()).toBe('ran well\n');
      await session.upload(bytesSource(old), path);
      expect((await session.exec(['test', '-x', path])).exitCode).toBe(1);
    });

    it('fails when the folder is missing', async () => {
      const session = await harness.session();
      await failure(session.upload(bytesSource(old), `${harness.path('missing')}/file`), 'transfer-failed');
    });

    it('refuses a relative path', async () => {
      const session = await harness.session();
      await failure(session.upload(bytesSource(old), 'relative'), 'invalid-input');
    });

    const brokenSources: readonly (readonly [string, ByteSource])[] = [
      ['has other bytes than its checksum says', bytesSource(noise(200_000), { sha256: '0'.repeat(64) })],
      ['is shorter than it says', { ...bytesSource(noise(200_000)), sizeBytes: 200_001 }],
      ['is longer than it says', { ...bytesSource(noise(200_000)), sizeBytes: 199_999 }],
      ['fails on the way', failingSource(200_000)],
    ];
    it.each(brokenSources)('leaves the old file, and nothing beside it, when the source %s', async (_what, source) => {
      const session = await harness.session();
      const folder = harness.path('folder');
      await session.exec(['mkdir', folder]);
      await session.upload(bytesSource(old), `${folder}/file`);
      await failure(session.upload(source, `${folder}/file`), 'checksum-mismatch', 'transfer-failed');
      expect((await session.exec(['cat', `${folder}/file`])).stdout).toEqual(old);
      await eventually(async () => (await session.exec(['ls', '-A', folder])).stdout.toString() === 'file\n');
    });

    it('that may be resumed stores the whole file after one that failed half-way', async () => {
      const session = await harness.session();
      const folder = harness.path('folder');
      await session.exec(['mkdir', folder]);
      const bytes = noise(200_000);
      const source = bytesSource(bytes, { sha256: sha256(bytes) });
      const failing: ByteSource = { ...source, read: () => failingSource(source.sizeBytes).read() };
      await failure(session.upload(failing, `${folder}/file`, { resume: true }), 'transfer-failed');
      const receipt = await session.upload(source, `${folder}/file`, { resume: true });
      expect(receipt).toEqual({ sizeBytes: 200_000, sha256: sha256(bytes) });
      expect(await collect(session.download(`${folder}/file`))).toEqual(bytes);
      await eventually(async () => (await session.exec(['ls', '-A', folder])).stdout.toString() === 'file\n');
    });

    it('leaves the old file, and nothing beside it, when aborted', async () => {
      const session = await harness.session();
      const folder = harness.path('folder');
      await session.exec(['mkdir', folder]);
      await session.upload(bytesSource(old), `${folder}/file`);
      const abort = new AbortController();
      const source = stuckSource(() => abort.abort());
      await failure(session.upload(source, `${folder}/file`, { signal: abort.signal }), 'aborted');
      expect((await session.exec(['cat', `${folder}/file`])).stdout).toEqual(old);
      await eventually(async () => (await session.exec(['ls', '-A', folder])).stdout.toString() === 'file\n');
    });

    it('does not read its source when aborted before', async () => {
      const session = await harness.session();
      const source = stuckSource(() => expect.fail('was read'));
      await failure(session.upload(source, harness.path(), { signal: AbortSignal.abort() }), 'aborted');
    });

    it('gives up at its deadline', async () => {
      const session = await harness.session();
      const source = stuckSource(() => undefined);
      await failure(session.upload(source, harness.path(), { timeoutMs: 200 }), 'deadline-exceeded');
    });

    it('reports progress that only grows and ends at the total', async () => {
      const session = await harness.session();
      const bytes = noise(2 * 1024 * 1024);
      const reports: TransferProgress[] = [];
      const path = harness.path();
      await session.upload(bytesSource(bytes), path, { onProgress: (report) => reports.push(report) });
      expectGrowingTo(bytes.byteLength, reports);
      const empty: TransferProgress[] = [];
      await session.upload(bytesSource(Buffer.alloc(0)), path, { onProgress: (report) => empty.push(report) });
      expectGrowingTo(0, empty);
    });

    it('leaves one whole file when two go to the same path', async () => {
      const session = await harness.session();
      const path = harness.path();
      const [one, two] = [noise(500_000, 2), noise(700_000, 3)];
      await Promise.all([session.upload(bytesSource(one), path), session.upload(bytesSource(two), path)]);
      expect([sha256(one), sha256(two)]).toContain(sha256(await collect(session.download(path))));
    });

    it('runs many at a time', async () => {
      const session = await harness.session();
      const files = Array.from({ length: 10 }, (_, index) => ({
        path: harness.path(),
        bytes: noise(200_000 + index, index),
      }));
      await Promise.all(files.map(({ path, bytes }) => session.upload(bytesSource(bytes), path)));
      const back = await Promise.all(files.map(({ path }) => collect(session.download(path))));
      expect(back.map(sha256)).toEqual(files.map(({ bytes }) => sha256(bytes)));
    });
  });
}

function downloadContract(harness: ShellHarness): void {
  const { describe, expect, it } = testFramework().vitest;

  describe('download', () => {
    it('fails with not-found when there is no such file', async () => {
      const session = await harness.session();
      await failure(() => collect(session.download(harness.path('missing'))), 'not-found');
    });

    it('fails on a folder', async () => {
      const session = await harness.session();
      const folder = harness.path('folder');
      await session.exec(['mkdir', folder]);
      await failure(() => collect(session.download(folder)), 'transfer-failed', 'not-found');
    });

    it('refuses a relative path', async () => {
      const session = await harness.session();
      await failure(() => collect(session.download('relative')), 'invalid-input');
    });

    it('throws instead of ending when the bytes are not the expected ones', async () => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(300_000);
      await session.upload(bytesSource(bytes), path);
      expect(await collect(session.download(path, { sha256: sha256(bytes) }))).toEqual(bytes);
      await failure(() => collect(session.download(path, { sha256: sha256(old) })), 'checksum-mismatch');
    });

    it('reports progress that only grows and ends at the total', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(2 * 1024 * 1024)), path);
      const reports: TransferProgress[] = [];
      await collect(session.download(path, { onProgress: (report) => reports.push(report) }));
      expectGrowingTo(2 * 1024 * 1024, reports);
    });

    it('stops when aborted', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(8 * 1024 * 1024)), path);
      const abort = new AbortController();
      const reading = async (): Promise<void> => {
        for await (const _chunk of session.download(path, { signal: abort.signal })) abort.abort();
      };
      await failure(reading, 'aborted');
      await failure(() => collect(session.download(path, { signal: AbortSignal.abort() })), 'aborted');
    });

    it('can be left early, and the session goes on', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(8 * 1024 * 1024)), path);
      for await (const chunk of session.download(path)) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        break;
      }
      expect((await session.exec(['true'])).exitCode).toBe(0);
    });
  });
}

function expectGrowingTo(totalBytes: number, reports: readonly TransferProgress[]): void {
  const { expect } = testFramework().vitest;
  const counts = reports.map(({ transferredBytes }) => transferredBytes);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(reports.at(-1)).toEqual({ transferredBytes: totalBytes, totalBytes });
}

/** Gives some bytes, calls back, and then nothing ever again. */
function stuckSource(whenStuck: () => void): ByteSource {
  return {
    sizeBytes: 1_000_000,
    async *read(): AsyncIterable<Uint8Array> {
      yield noise(100_000);
      whenStuck();
      await new Promise<never>(() => {});
    },
  };
}

function failingSource(sizeBytes: number): ByteSource {
  return {
    sizeBytes,
    async *read(): AsyncIterable<Uint8Array> {
      yield noise(sizeBytes / 2);
      throw new Error('the medium is broken');
    },
  };
}
