import type { ShellSession } from '../contracts/shell.ts';
import { isBringupError } from '../errors.ts';
import { bytesSource, collect, noise, readAtLeast, sha256, type ShellHarness } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** What `spawn` promises. */
export function processContract(harness: ShellHarness): void {
  const { describe, expect, it } = testFramework().vitest;

  describe('spawn', () => {
    it('talks both ways while the process runs', async () => {
      const session = await harness.session();
      const cat = await session.spawn(['cat']);
      const output = cat.stdout[Symbol.asyncIterator]();
      await cat.write(Buffer.from('one\n'));
      expect((await readAtLeast(output, 4)).toString()).toBe('one\n');
      await cat.write(Buffer.from([0, 255, 10, 128]));
      expect(await readAtLeast(output, 4)).toEqual(Buffer.from([0, 255, 10, 128]));
      await cat.end();
      await cat.end();
      expect((await output.next()).done).toBe(true);
      expect(await cat.exited).toEqual({ exitCode: 0, signal: null });
    });

    it('gives output byte for byte', async () => {
      const session = await harness.session();
      const path = harness.path();
      const bytes = noise(3 * 1024 * 1024 + 1);
      await session.upload(bytesSource(bytes), path);
      const cat = await session.spawn(['cat', path]);
      expect(sha256(await collect(cat.stdout))).toBe(sha256(bytes));
      expect(await cat.exited).toEqual({ exitCode: 0, signal: null });
    });

    it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('ends by %s and says so', async (signal) => {
      const session = await harness.session();
      const sleeper = await session.spawn(['sleep', '300']);
      await sleeper.kill(signal);
      expect(await sleeper.exited).toEqual({ exitCode: null, signal });
      await sleeper.kill(signal);
    });

    harness.needing('posix-sh')('signals the children of the process too', async () => {
      const session = await harness.session();
      const parent = await session.spawn(['sh', '-c', 'sleep 300 & echo started; wait']);
      const output = parent.stdout[Symbol.asyncIterator]();
      expect((await readAtLeast(output, 8)).toString()).toBe('started\n');
      await parent.kill('SIGKILL');
      // The child holds standard output open: its end is the child's end.
      expect((await output.next()).done).toBe(true);
      expect(await parent.exited).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    });

    it('ends the process when its signal aborts', async () => {
      const session = await harness.session();
      const abort = new AbortController();
      const sleeper = await session.spawn(['sleep', '300'], { signal: abort.signal });
      abort.abort();
      expect(await sleeper.exited).toEqual({ exitCode: null, signal: 'SIGTERM' });
    });

    it('ends the process when it is disposed, any number of times', async () => {
      const session = await harness.session();
      const sleeper = await session.spawn(['sleep', '300']);
      await Promise.all([sleeper[Symbol.asyncDispose](), sleeper[Symbol.asyncDispose]()]);
      await sleeper[Symbol.asyncDispose]();
      expect((await sleeper.exited).exitCode).toBe(null);
    });

    it('holds a writer back whose process nobody reads from', async () => {
      const session = await harness.session();
      const cat = await session.spawn(['cat']);
      const chunk = noise(256 * 1024);
      const chunks = 256;
      let written = 0;
      const writing = (async (): Promise<void> => {
        for (; written < chunks; written += 1) await cat.write(chunk);
        await cat.end();
      })();
      await standsStill(session, () => written);
      expect(written).toBeLessThan(chunks);
      let received = 0;
      for await (const part of cat.stdout) received += part.byteLength;
      await writing;
      expect(received).toBe(chunks * chunk.byteLength);
      expect(await cat.exited).toEqual({ exitCode: 0, signal: null });
    });

    harness.needing('posix-sh')('is not blocked by standard error that nobody reads', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(8 * 1024 * 1024)), path);
      const noisy = await session.spawn(['sh', '-c', 'cat "$1" >&2; echo done', 'x', path]);
      expect((await collect(noisy.stdout)).toString()).toBe('done\n');
      expect(await noisy.exited).toEqual({ exitCode: 0, signal: null });
    });

    it('gives standard error that is read after the end', async () => {
      const session = await harness.session();
      const failing = await session.spawn(['ls', harness.path('missing')]);
      await failing.exited;
      expect((await collect(failing.stderr)).toString()).toMatch(/No such file/i);
    });

    it('gives standard output that is read after the end', async () => {
      const session = await harness.session();
      const printing = await session.spawn(['printf', 'late']);
      await printing.exited;
      expect((await collect(printing.stdout)).toString()).toBe('late');
    });

    it('drops the rest of the output when the loop is left', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(8 * 1024 * 1024)), path);
      const cat = await session.spawn(['cat', path]);
      for await (const part of cat.stdout) {
        expect(part.byteLength).toBeGreaterThan(0);
        break;
      }
      await cat.exited;
    });

    it('rejects input to a process that has ended instead of hanging', async () => {
      const session = await harness.session();
      const ended = await session.spawn(['true']);
      await ended.exited;
      const error: unknown = await (async (): Promise<void> => {
        // A write may still be taken into the pipe of a process that has only just gone.
        for (;;) await ended.write(noise(64 * 1024));
      })().catch((reason: unknown) => reason);
      expect(isBringupError(error)).toBe(true);
      await ended.end();
    });
  });
}

/** Waits until a count no longer moves while the target answers other commands. */
async function standsStill(session: ShellSession, count: () => number): Promise<void> {
  for (let still = 0, last = -1; still < 5;) {
    await session.exec(['true']);
    await session.exec(['cat'], { stdin: 'x' });
    still = count() === last && last > 0 ? still + 1 : 0;
    last = count();
  }
}
