import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { execFileSync, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isBringupError, limits, localShell, type BringupError, type OutputDeclaration } from '@bringup/core';
import { memoryLab, type MemoryBuildFunction, type MemoryLab } from '@bringup/core/testing';
import { filenameFault } from '../../src/artifacts/filename.ts';
import { findOutputs, type FoundOutput } from '../../src/builds/collect.ts';
import { errorLines } from '../../src/builds/error-lines.ts';
import { buildRequestSchema } from '../../src/builds/schema.ts';
import { validate } from '../../src/model/validate.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { headCommit, kernelBuild, oldCommit, repositories } from '../support/requests.ts';

const { signal } = new AbortController();
const everything: readonly OutputDeclaration[] = [{ type: 'other', path: 'out/*', required: false }];

describe('the outputs of a hostile build, as a real shell sees them,', () => {
  let root = '';
  let tree = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'bringup-hostile-'));
    tree = join(root, 'job', 'src');
    mkdirSync(join(tree, 'out'), { recursive: true });
    writeFileSync(join(root, 'secret'), 'not of the build');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  async function find(outputs = everything): Promise<FoundOutput[] | BringupError> {
    await using shell = localShell();
    await using session = await shell.connect({ hostname: 'localhost', username: 'me' });
    return await findOutputs(session, tree, outputs, signal).catch((error: unknown) => {
      if (isBringupError(error)) return error;
      throw error;
    });
  }

  it('whatever their names, are below the folder or refused', () =>
    fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          fc.oneof(
            fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
            fc.constantFrom('\n0\t1\t', '-rf', '\\x', 'a\tb', "it's", '$(id)', '*', '~', 'x'.repeat(255), '\u009b31m'),
            fc.constant(`a\n0\t4\t${'0'.repeat(64)}\t`),
          ),
          { minLength: 1, maxLength: 3 },
        ),
        async (names) => {
          rmSync(join(tree, 'out'), { recursive: true });
          mkdirSync(join(tree, 'out'));
          const made = names.filter((name) => {
            try {
              writeFileSync(join(tree, 'out', name.replaceAll(/[/\0]/g, '_')), name);
              return true;
            } catch {
              // The file system itself takes no such name.
              return false;
            }
          });
          const found = await find();
          if (!Array.isArray(found)) {
            expect(found.code).toBe('path-escape');
            expect(made.some((name) => filenameFault(name.replaceAll(/[/\0]/g, '_')) !== undefined)).toBe(true);
            return;
          }
          expect(found.length).toBeLessThanOrEqual(made.length);
          for (const { path, filename } of found) {
            expect(posix.dirname(path)).toBe(join(tree, 'out'));
            expect(filenameFault(filename)).toBeUndefined();
          }
        },
      ),
      { numRuns: 100 },
    ));

  it('that lead elsewhere by a link, of whatever length, are refused', async () => {
    for (const target of [join(root, 'secret'), '../../../secret', '/proc/self/environ', '/etc/passwd']) {
      symlinkSync(target, join(tree, 'out', 'kernel'));
      expect(await find(), target).toMatchObject({ code: 'path-escape', details: { path: 'out/kernel' } });
      rmSync(join(tree, 'out', 'kernel'));
    }
    rmSync(join(tree, 'out'), { recursive: true });
    symlinkSync(root, join(tree, 'out'));
    expect(await find()).toMatchObject({ code: 'path-escape' });
  });

  it('that are links within the tree, or second names of its files, are what they say', async () => {
    writeFileSync(join(tree, 'vmlinux'), 'kernel');
    symlinkSync('../vmlinux', join(tree, 'out', 'one'));
    linkSync(join(tree, 'vmlinux'), join(tree, 'out', 'two'));
    expect(await find()).toMatchObject([
      { filename: 'one', sizeBytes: 6 },
      { filename: 'two', sizeBytes: 6 },
    ]);
  });

  it('that are pipes, devices, folders or links to nothing are no files', { timeout: 20_000 }, async () => {
    execFileSync('mkfifo', [join(tree, 'out', 'pipe')]);
    symlinkSync('/dev/zero', join(tree, 'out', 'zero'));
    symlinkSync('nowhere', join(tree, 'out', 'dangling'));
    symlinkSync('loop', join(tree, 'out', 'loop'));
    mkdirSync(join(tree, 'out', 'folder'));
    expect(await find()).toEqual([]);
  });

  it('that are judged by a name are judged as what is opened: a link that is swapped in between does not pass', async () => {
    const kernel = join(tree, 'out', 'kernel');
    writeFileSync(kernel, 'kernel');
    const stop = join(root, 'stop');
    // Swaps the file for a link to the secret and back, as fast as a shell can.
    const swapping = swap(kernel, join(root, 'secret'), stop);
    try {
      for (let round = 0; round < 30; round += 1) {
        const found = await find();
        if (Array.isArray(found)) {
          for (const { sha256 } of found) expect(sha256).toBe(await sha256Of('kernel'));
        } else expect(['path-escape', 'command-failed']).toContain(found.code);
      }
    } finally {
      writeFileSync(stop, '');
      await swapping;
    }
  });

  it('that take more room than is kept, however sparse, are refused before anybody reads them', async () => {
    const half = Math.ceil(limits.maxBuildOutputBytes / 2) + 1;
    for (const name of ['a', 'b']) {
      writeFileSync(join(tree, 'out', name), '');
      // The first one is within the bound and would be hashed: it lies beside what is looked for.
      truncateSync(join(tree, 'out', name), half);
    }
    const both: OutputDeclaration[] = [{ type: 'other', path: 'out/?' }];
    truncateSync(join(tree, 'out', 'a'), 2 * half);
    expect(await find(both)).toMatchObject({ code: 'output-missing', details: { pattern: 'out/?' } });
  });

  it('told by a server that lies about where they are are not fetched', async () => {
    const hash = 'a'.repeat(64);
    for (const line of [
      `0\t1\t${hash}\t/etc/shadow`,
      `0\t1\t${hash}\t../../x`,
      `0\t-1\t${hash}\tx`,
      `7\t1\t${hash}\tx`,
      `0\t1\tnohash\tx`,
      `0\t1\t${hash}\t`,
      'escape',
      'garbage',
    ]) {
      const session = {
        exec: async () => ({ exitCode: 0, signal: null, stdout: Buffer.from(`${line}\n`), stderr: '' }),
      };
      const lying = findOutputs(session as never, '/srv/job/src', everything, signal);
      await expect(lying, line).rejects.toSatisfy((error) => isBringupError(error, 'command-failed', 'path-escape'));
    }
  });
});

async function sha256Of(text: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('hex');
}

function swap(file: string, secret: string, stop: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const script =
    'n=0; while [ ! -e "$3" ] && [ "$n" -lt 20000 ]; do n=$((n + 1)); ln -sfn "$2" "$1.s"; mv -T "$1.s" "$1"; printf kernel > "$1.f"; mv -T "$1.f" "$1"; done';
  spawn('sh', ['-c', script, 'swap', file, secret, stop], { stdio: 'ignore' }).once('exit', () => resolve());
  return promise;
}

async function labWith(build: MemoryBuildFunction): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, build });
  await lab.addServer();
  return lab;
}

async function run(lab: MemoryLab, request = kernelBuild): ReturnType<MemoryLab['builds']['waitForBuild']> {
  const { id } = await lab.builds.submitBuild(request);
  return lab.clock.runUntil(lab.builds.waitForBuild(id));
}

/** The folder of a build's own files, which its recipe can reach. */
const jobOf = (src: string): string => posix.dirname(src);
const writtenOutputs: MemoryBuildFunction = ({ output }) => {
  output('arch/x86/boot/bzImage', 'kernel');
  output('.config', 'CONFIG_64BIT=y\n');
};

describe('a build that writes into its own job folder', () => {
  it.each(['storage-full', 'lease-lost', 'aborted', 'connection-lost', 'not-found', 'internal', '../../x', ''])(
    'is believed no failure of the SDK: it ends as a failed build though it says %j',
    async (code) => {
      await using lab = await labWith(({ files, src }) => {
        files.writeFile(`${jobOf(src)}/failure`, `${code}\n`);
        return 1;
      });
      expect(await run(lab)).toMatchObject({ status: 'failed', error: { code: 'build-failed' } });
      await expectNothingHeld(lab);
    },
  );

  it('does not change which commit it was made of, nor what it is said to do', async () => {
    const notes = [
      `building ${oldCommit}`,
      'building main',
      'completed',
      '\u001b[2Jcollecting',
      `preparing ${oldCommit} x`,
    ];
    for (const note of notes) {
      await using lab = await labWith(async (build) => {
        await build.sleep(3_000);
        build.files.writeFile(`${jobOf(build.src)}/note`, `${note}\n`);
        build.files.writeFile(`${jobOf(build.src)}/commit`, `${oldCommit}\n`);
        await build.log('x\n');
        await build.sleep(3_000);
        await writtenOutputs(build);
      });
      expect(await run(lab), note).toMatchObject({ status: 'completed', commitHash: headCommit });
    }
  });

  it('can’t pass itself off as another commit than the one that was asked for, however quick it is', async () => {
    await using lab = await labWith((build) => {
      build.files.writeFile(`${jobOf(build.src)}/note`, `building ${oldCommit}\n`);
      return writtenOutputs(build);
    });
    const done = await run(lab, { ...kernelBuild, commitHash: headCommit });
    expect(done.commitHash).not.toBe(oldCommit);
  });
});

describe('a build with outputs of hostile names', () => {
  it.each(['new\nline', 'tab\there', '-rf', 'x'.repeat(256), '\u009bA', 'back\\slash'])(
    'fails for %j and holds nothing any more',
    async (name) => {
      await using lab = await labWith(({ output }) => output(`out/${name}`, 'x'));
      const failed = await run(lab, {
        ...kernelBuild,
        buildConfig: { recipe: 'make', outputs: [{ type: 'other', path: 'out/*' }] },
      });
      expect(failed).toMatchObject({ status: 'failed', error: { code: 'path-escape' } });
      await expectNothingHeld(lab);
    },
  );
});

describe('a name of an artifact', () => {
  it('leads to a file below any folder it is put under, or is refused', () => {
    const part = fc.oneof(
      fc.constantFrom('..', '.', '', '/', '\\', '\0', 'C:', 'CON', '~', '-o', '\n', 'a'),
      fc.string({ unit: 'binary', maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), fc.constantFrom('/', '', '//'), (parts, separator) => {
        const name = parts.join(separator);
        if (filenameFault(name) !== undefined) return;
        const path = posix.join('/srv/folder', name);
        expect(path).toBe(`/srv/folder/${name}`);
        expect(posix.normalize(path)).toBe(path);
        for (const piece of name.split('/')) expect(piece.startsWith('-')).toBe(false);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('the source of a build', () => {
  const refused = (sourceRepository: string): string | undefined => {
    try {
      validate('the build', buildRequestSchema, { ...kernelBuild, sourceRepository });
      return undefined;
    } catch (error) {
      return isBringupError(error, 'invalid-input') ? error.message : expect.fail(String(error));
    }
  };

  it.each([
    'https://user:canary@git.example/x.git',
    'https://canary@git.example/x.git',
    'HTTPS://user:canary@git.example/x.git',
    'http://canary@git.example/x.git',
    'https://us@er:can@ary@git.example/x.git',
    'ssh://git:canary@git.example/x.git',
    'user:canary@git.example:x.git',
    'ext::sh -c canary',
    'foo::canary',
    'ssh://-oProxyCommand=canary/x',
    'ssh://git@-oProxyCommand=canary/x',
    'https://git.example/x.git\n--upload-pack=canary',
    '-canary',
  ])('is refused when it is %j, without repeating it', (url) => {
    expect(refused(url)).toBeDefined();
    expect(refused(url)).not.toContain('canary');
  });

  it.each([
    'https://git.example/x.git',
    'ssh://git@git.example:2222/x.git',
    'git@git.example:team/x.git',
    'git://git.example/x.git',
    'file:///srv/git/x.git',
    'https://git.example/a@b/x.git',
    '/srv/git/x@y:z.git',
  ])('may be %j', (url) => expect(refused(url)).toBeUndefined());
});

describe('the lines that tell why a build failed', () => {
  it('are plain text, however much they try to be more', () => {
    const hostile =
      '\u001b]0;title\u0007main.c:1: \u001b[2J\u009b31merror: \u001bP1;2q\u001b\\no\u0000 such\u0085thing';
    expect(errorLines(hostile)).toEqual(['main.c:1: error: 1;2qno suchthing']);
    expect(errorLines(`error: ${'x'.repeat(1_000_000)}`)[0]).toHaveLength(limits.errorLineChars);
  });
});
