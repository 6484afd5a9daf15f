import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, runCommand } from './commands.ts';

/** The BSP that comes with this example. */
export const bspFolder: string = fileURLToPath(new URL('../bsp', import.meta.url));

/** A git repository to build from. */
export interface GitSource {
  /** Absolute path of the repository. */
  readonly repository: string;
  readonly branch: string;
  readonly commitHash: string;
}

/** Makes the author and the date of the commit the same everywhere, and with them its hash. */
const identity = {
  GIT_AUTHOR_NAME: 'bringup quickstart',
  GIT_AUTHOR_EMAIL: 'quickstart@localhost',
  GIT_AUTHOR_DATE: '2025-01-01T00:00:00Z',
  GIT_COMMITTER_NAME: 'bringup quickstart',
  GIT_COMMITTER_EMAIL: 'quickstart@localhost',
  GIT_COMMITTER_DATE: '2025-01-01T00:00:00Z',
  // A person's settings must not change what is committed.
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
};

/**
 * Makes a git repository of a folder, or brings the one made before up to date. The same files give
 * the same commit, so a build of them is recognised; changed files give another one.
 *
 * @param folder - the source tree; its .gitignore applies.
 * @param repository - where the bare repository goes.
 * @throws Error with what git said.
 */
export async function commitFolder(folder: string, repository: string): Promise<GitSource> {
  const branch = 'main';
  await mkdir(repository, { recursive: true });
  if (!(await exists(join(repository, 'HEAD')))) {
    await git(repository, ['init', '--quiet', '--bare', `--initial-branch=${branch}`]);
  }
  // An index of its own each time: one that a killed run left behind locked would be in the way.
  const scratch = await mkdtemp(join(repository, 'index-'));
  try {
    const env = { GIT_INDEX_FILE: join(scratch, 'index'), GIT_WORK_TREE: folder };
    await git(repository, ['add', '--all', '.'], env, folder);
    const tree = await git(repository, ['write-tree'], env);
    const commitHash = await git(repository, ['commit-tree', tree, '-m', 'The BSP of the quickstart']);
    await git(repository, ['update-ref', `refs/heads/${branch}`, commitHash]);
    return { repository, branch, commitHash };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Whether a folder is a git repository, bare or with a work tree. */
export async function isRepository(folder: string): Promise<boolean> {
  return (await exists(join(folder, '.git'))) || (await exists(join(folder, 'HEAD')));
}

/**
 * Checks that a folder holds Linux, so that nobody waits for a build that says "No rule to make target".
 *
 * @param revision - where to look in a git repository; undefined for a plain source tree.
 * @throws Error that says what `--source` takes.
 */
export async function checkLinuxSource(folder: string, revision?: string): Promise<void> {
  if (revision !== undefined && !(await hasObject(folder, revision))) return;
  for (const file of ['Makefile', 'Kconfig', 'scripts/kconfig']) {
    const found =
      revision === undefined ? await exists(join(folder, file)) : await hasObject(folder, `${revision}:${file}`);
    if (found) continue;
    throw new Error(
      `--source expects a Linux source tree, a folder or a git repository with Linux's Makefile and Kconfig: ${folder} has no ${file}`,
    );
  }
}

/** Whether a repository has what a revision or a path in one names. */
function hasObject(repository: string, name: string): Promise<boolean> {
  return runCommand(['git', '-C', repository, 'cat-file', '-e', name]).then(
    () => true,
    () => false,
  );
}

function git(
  repository: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = repository,
): Promise<string> {
  return runCommand(['git', ...args], { cwd, env: { ...identity, GIT_DIR: repository, ...env } });
}
