import type { TransferProgress } from '../contracts/shell.ts';
import { PartialDownload } from '../model/partial-download.ts';
import { bytesSource, collect, failure, missing, noise, sha256, type ShellHarness } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** What `download` promises about one that was cut. */
export function resumedDownloadContract(harness: ShellHarness): void {
  const { describe, expect, it } = testFramework().vitest;
  const { fc } = testFramework();

  describe('a download that is gone on with', () => {
    it('goes on behind any byte, and ends only once both parts are the whole file', async () => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(300_007);
      const hash = sha256(bytes);
      await session.upload(bytesSource(bytes), path);
      await fc.assert(
        fc.asyncProperty(fc.nat({ max: bytes.length }), fc.boolean(), async (at, known) => {
          const resume = partOf(bytes.subarray(0, at));
          const rest = await collect(session.download(path, known ? { resume, sha256: hash } : { resume }));
          expect(rest.equals(bytes.subarray(at))).toBe(true);
          expect([resume.sizeBytes, resume.sha256()]).toEqual([bytes.length, hash]);
        }),
        { numRuns: 100 },
      );
    }, 60_000);

    it('goes on where it was left', async () => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(8 * 1024 * 1024);
      await session.upload(bytesSource(bytes), path);
      const resume = new PartialDownload();
      const chunks: Uint8Array[] = [];
      for await (const chunk of session.download(path, { resume })) {
        chunks.push(chunk);
        break;
      }
      expect(resume.sizeBytes).toBe(chunks[0]?.byteLength);
      chunks.push(await collect(session.download(path, { resume })));
      expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    });

    harness.needing('drop-connection')('goes on over another connection when its own was cut', async () => {
      const { dropConnection } = harness.fixture;
      if (dropConnection === undefined) throw missing('dropConnection');
      const path = harness.path();
      const bytes = noise(32 * 1024 * 1024);
      await (await harness.session()).upload(bytesSource(bytes), path);
      const resume = new PartialDownload();
      const chunks: Uint8Array[] = [];
      const read = async (cut: boolean): Promise<void> => {
        const session = await harness.session();
        for await (const chunk of session.download(path, { resume })) {
          if (chunks.push(chunk) === 3 && cut) await dropConnection();
        }
      };
      await failure(read(true), 'connection-lost');
      expect(resume.sizeBytes).toBe(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
      expect(resume.sizeBytes).toBeLessThan(bytes.length);
      await read(false);
      expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    });

    it.each([
      ['as long, but another', noise(200_000, 2)],
      ['longer, and another', noise(300_000, 2)],
      ['shorter than what is here', noise(90_000)],
      ['empty', Buffer.alloc(0)],
    ])('is never mixed with a file that has become %s', async (_what, changed) => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(200_000);
      await session.upload(bytesSource(bytes), path);
      const resume = partOf(bytes.subarray(0, 100_000));
      await session.upload(bytesSource(changed), path);
      await failure(() => collect(session.download(path, { resume })), 'checksum-mismatch');
      expect(await collect(session.download(path))).toEqual(changed);
    });

    it('throws instead of ending when the whole file is not the expected one', async () => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(200_000);
      await session.upload(bytesSource(bytes), path);
      const resume = partOf(bytes.subarray(0, 100_000));
      const other = sha256(noise(200_000, 2));
      await failure(() => collect(session.download(path, { resume, sha256: other })), 'checksum-mismatch');
    });

    it('counts what was here before as progress', async () => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(2 * 1024 * 1024);
      await session.upload(bytesSource(bytes), path);
      const resume = partOf(bytes.subarray(0, 1024 * 1024));
      const reports: TransferProgress[] = [];
      await collect(session.download(path, { resume, onProgress: (report) => reports.push(report) }));
      expect(Math.min(...reports.map(({ transferredBytes }) => transferredBytes))).toBeGreaterThanOrEqual(1024 * 1024);
      expect(reports.at(-1)).toEqual({ transferredBytes: bytes.length, totalBytes: bytes.length });
    });

    it('fails with not-found when the file is gone', async () => {
      const session = await harness.session();
      const resume = partOf(noise(10));
      await failure(() => collect(session.download(harness.path('gone'), { resume })), 'not-found');
    });
  });
}

function partOf(bytes: Uint8Array): PartialDownload {
  const part = new PartialDownload();
  part.add(bytes);
  return part;
}
