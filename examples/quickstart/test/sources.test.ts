import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../src/commands.ts';
import { checkLinuxSource, commitFolder } from '../src/sources.ts';

describe('the repository made of a folder', () => {
  let work: string;
  let tree: string;
  beforeEach(async () => {
    work = await mkdtemp(join(tmpdir(), 'bringup-sources-'));
    tree = join(work, 'tree');
    await mkdir(join(tree, 'build'), { recursive: true });
    await writeFile(join(tree, 'main.c'), 'int main;\n');
    await writeFile(join(tree, '.gitignore'), 'build/\n');
    await writeFile(join(tree, 'build', 'main.o'), 'object');
  });
  afterEach(() => rm(work, { recursive: true, force: true }));

  test('holds the files but what is ignored', async () => {
    const { repository, branch } = await commitFolder(tree, join(work, 'a.git'));
    expect(await runCommand(['git', '-C', repository, 'ls-tree', '-r', '--name-only', branch])).toBe(
      '.gitignore\nmain.c',
    );
  });

  test('has the same commit for the same files, wherever and however often it is made', async () => {
    const first = await commitFolder(tree, join(work, 'a.git'));
    const again = await commitFolder(tree, join(work, 'a.git'));
    const elsewhere = await commitFolder(tree, join(work, 'b.git'));
    expect([again.commitHash, elsewhere.commitHash]).toEqual([first.commitHash, first.commitHash]);
  });

  test('gets another commit for changed, removed or newly executable files, and the old one back with the old files', async () => {
    const commits = [(await commitFolder(tree, join(work, 'a.git'))).commitHash];
    const change = async (edit: Promise<void>): Promise<void> => {
      await edit;
      commits.push((await commitFolder(tree, join(work, 'a.git'))).commitHash);
    };
    await change(writeFile(join(tree, 'main.c'), 'int other;\n'));
    await change(chmod(join(tree, 'main.c'), 0o755));
    await change(rm(join(tree, 'main.c')));
    expect(new Set(commits).size).toBe(4);
    await change(writeFile(join(tree, 'main.c'), 'int main;\n'));
    expect(commits[4]).toBe(commits[0]);
  });

  test('is found sound after a run was killed while it made it', async () => {
    const { repository } = await commitFolder(tree, join(work, 'a.git'));
    await mkdir(join(repository, 'index-killed'));
    await writeFile(join(repository, 'index-killed', 'index.lock'), '');
    await expect(commitFolder(tree, repository)).resolves.toMatchObject({ branch: 'main' });
  });
});

describe('the source of a kernel', () => {
  let work: string;
  let tree: string;
  beforeEach(async () => {
    work = await mkdtemp(join(tmpdir(), 'bringup-linux-'));
    tree = join(work, 'tree');
    await mkdir(join(tree, 'scripts', 'kconfig'), { recursive: true });
    await writeFile(join(tree, 'scripts', 'kconfig', 'Makefile'), '');
    await writeFile(join(tree, 'Kconfig'), '');
    await writeFile(join(tree, 'Makefile'), '');
  });
  afterEach(() => rm(work, { recursive: true, force: true }));

  test('is a folder or a repository with what Linux has', async () => {
    await expect(checkLinuxSource(tree)).resolves.toBeUndefined();
    const { repository, branch } = await commitFolder(tree, join(work, 'linux.git'));
    await expect(checkLinuxSource(repository, branch)).resolves.toBeUndefined();
  });

  test.each(['Makefile', 'Kconfig', 'scripts/kconfig'])(
    'without %s is refused before anything is built',
    async (lost) => {
      await rm(join(tree, lost), { recursive: true });
      const complaint = new RegExp(`^--source expects a Linux source tree, .* has no ${lost}$`);
      await expect(checkLinuxSource(tree)).rejects.toThrow(complaint);
      const { repository } = await commitFolder(tree, join(work, 'other.git'));
      await expect(checkLinuxSource(repository, 'HEAD')).rejects.toThrow(complaint);
    },
  );

  test('that is a repository without the branch is left to whoever asks for the branch', async () => {
    const { repository } = await commitFolder(tree, join(work, 'linux.git'));
    await expect(checkLinuxSource(repository, 'nowhere')).resolves.toBeUndefined();
  });
});
