import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConsoleSession } from '../../src/consoles/console-session.ts';
import { ConsoleShell } from '../../src/consoles/console-shell.ts';
import { getFile, putFile, type ConsoleRunner } from '../../src/consoles/console-files.ts';
import { PosixCksum } from '../../src/consoles/posix-cksum.ts';
import type { ByteSource } from '../../src/contracts/shell.ts';
import { limits } from '../../src/limits.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { shellConsole } from './real-shell.ts';

let cleanup = new AsyncDisposableStack();
let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bringup-console-'));
  cleanup.defer(() => rmSync(dir, { recursive: true, force: true }));
});
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

async function openShell(noiseSeed?: number): Promise<ConsoleShell> {
  const noise = noiseSeed === undefined ? {} : { noise: seededRandom(noiseSeed) };
  const console = cleanup.use(shellConsole('terminal', noise));
  const session = cleanup.use(new ConsoleSession({ console, typeBytes: 128 }));
  return ConsoleShell.open({ session, quietKernel: false, idleMs: 50 });
}

const sourceOf = (bytes: Uint8Array): ByteSource => ({
  sizeBytes: bytes.length,
  async *read() {
    for (let at = 0; at < bytes.length; at += 1_000) yield bytes.subarray(at, at + 1_000);
  },
});

async function collect(file: AsyncGenerator<Uint8Array, unknown, void>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(file));
}

const someBytes = (size: number): Buffer =>
  Buffer.from(Array.from({ length: size }, (_, at) => (at * 7919 + (at >> 8)) & 0xff));

/** A shell of this machine without a console between, for what is not about the line. */
function directRunner(
  options: {
    readonly path?: string;
    readonly damage?: (script: string) => boolean;
    readonly garble?: (output: string, script: string) => string;
  } = {},
) {
  const runs: string[] = [];
  const runner: ConsoleRunner = {
    async run(argv) {
      const script = argv[2] ?? '';
      runs.push(script);
      const values = options.damage?.(script) === true ? argv.map((word) => word.replace('AAAA', 'BBBB')) : argv;
      try {
        const env = { ...process.env, ...(options.path !== undefined && { PATH: options.path }) };
        const output = execFileSync(values[0] ?? '', values.slice(1), { env }).toString();
        return { exitCode: 0, output: options.garble?.(output, script) ?? output };
      } catch (error) {
        return { exitCode: (error as { status: number }).status, output: String((error as { stderr: Buffer }).stderr) };
      }
    },
  };
  return { runner, runs };
}

describe('files over a console', () => {
  it('any bytes arrive, both ways, whatever the kernel says in between', async () => {
    const shell = await openShell(7);
    const path = join(dir, 'file');
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const receipt = await shell.put(sourceOf(bytes), path);
        expect(receipt).toMatchObject({ sizeBytes: bytes.length, comparedBy: 'sha256' });
        expect(readFileSync(path).equals(bytes)).toBe(true);
        runs += 1;
        if (runs % 4 === 0) expect((await collect(shell.get(path))).equals(bytes)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('a large file moves in blocks, tells how far it is, and leaves nothing beside it', async () => {
    const shell = await openShell();
    const path = join(dir, 'a file; with $strange "name\'');
    const bytes = someBytes(3 * limits.consoleBlockBytes + 17);
    const heard: number[] = [];
    await shell.put(sourceOf(bytes), path, { mode: 0o755, onProgress: (at) => heard.push(at.transferredBytes) });
    expect(heard).toEqual([6_144, 12_288, 18_432, 18_449]);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o755);
    expect(readdirSync(dir)).toHaveLength(1);
    expect((await collect(shell.get(path))).equals(bytes)).toBe(true);
  });

  it('a file that is not there is not found', async () => {
    const shell = await openShell();
    await expect(collect(shell.get(join(dir, 'nothing')))).rejects.toMatchObject({ code: 'not-found' });
    await expect(shell.put(sourceOf(someBytes(1)), join(dir, 'no', 'folder'))).rejects.toMatchObject({
      code: 'transfer-failed',
    });
  });

  it('a block that was damaged on the way is sent again', async () => {
    let left = 2;
    const { runner } = directRunner({ damage: (script) => script.includes('seek=') && left-- > 0 });
    const path = join(dir, 'file');
    await putFile(runner, sourceOf(Buffer.alloc(100)), path);
    expect(readFileSync(path).equals(Buffer.alloc(100))).toBe(true);
  });

  it.each([
    ['how large it is', 'wc -c'],
    ['what it looks like', 'sha256sum'],
  ])('when the line damages what the target says of %s, it is asked again', async (_what, part) => {
    let left = 0;
    const { runner } = directRunner({
      garble: (output, script) => (script.includes(part) && left-- > 0 ? output.replace(/\d+(?=\D*$)/, 'x$&') : output),
    });
    const path = join(dir, 'file');
    left = 2;
    await putFile(runner, sourceOf(someBytes(100)), path);
    left = 2;
    expect((await collect(getFile(runner, path))).equals(someBytes(100))).toBe(true);
  });

  it('L-consoleBlockRetries: a line that damages every block is given up, and nothing is left', async () => {
    const { runner } = directRunner({ damage: (script) => script.includes('seek=') });
    const path = join(dir, 'file');
    await expect(putFile(runner, sourceOf(Buffer.alloc(100)), path)).rejects.toMatchObject({
      code: 'checksum-mismatch',
    });
    expect(readdirSync(dir)).toEqual([]);
  });

  it('a source that is not what it promised is refused, and the file stays what it was', async () => {
    const { runner } = directRunner();
    const path = join(dir, 'file');
    writeFileSync(path, 'before');
    const lying = { ...sourceOf(someBytes(10)), sha256: '0'.repeat(64) };
    await expect(putFile(runner, lying, path)).rejects.toMatchObject({ code: 'checksum-mismatch' });
    expect(readFileSync(path, 'utf8')).toBe('before');
    expect(readdirSync(dir)).toEqual(['file']);
  });

  it('needs neither base64 nor sha256sum', async () => {
    const tools = join(dir, 'bin');
    execFileSync('sh', [
      '-c',
      'mkdir "$0" && for t in sh cksum dd tr od wc mv rm chmod sync; do ln -s "$(command -v $t)" "$0"; done',
      tools,
    ]);
    const { runner } = directRunner({ path: tools });
    const path = join(dir, 'file');
    const bytes = someBytes(10_000);
    expect(await putFile(runner, sourceOf(bytes), path)).toMatchObject({ comparedBy: 'cksum', sizeBytes: 10_000 });
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect((await collect(getFile(runner, path))).equals(bytes)).toBe(true);
  });

  it('ends with its signal', async () => {
    const abort = new AbortController();
    const { runner } = directRunner();
    const onProgress = (): void => abort.abort();
    const putting = putFile(runner, sourceOf(someBytes(20_000)), join(dir, 'file'), {
      signal: abort.signal,
      onProgress,
    });
    await expect(putting).rejects.toMatchObject({ code: 'aborted' });
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('cksum', () => {
  it('is what the system’s cksum says', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const theirs = execFileSync('cksum', { input: bytes }).toString().trim();
        expect(new PosixCksum().update(bytes.subarray(0, 5)).update(bytes.subarray(5)).digest()).toBe(theirs);
      }),
      { numRuns: 100 },
    );
  });
});
