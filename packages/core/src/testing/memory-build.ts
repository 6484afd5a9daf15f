import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { sleep } from '../async.ts';
import {
  buildScript,
  cleanServerScript,
  collectScript,
  kernelRecipe,
  makeRecipe,
  overScript,
  readNoteScript,
  removeScript,
  resourceUseScript,
  scriptRecipe,
} from '../builds/scripts.ts';
import type { ErrorCode } from '../errors.ts';
import { MemoryFileError, type MemoryFileSystem } from './memory-file-system.ts';
import type { MemoryCommand, MemoryCommandContext } from './memory-process.ts';

/** A repository that memory build servers can fetch. */
export interface MemoryRepository {
  /** Commit hashes by branch or tag; the first one is the default branch. Without any, it is a plain source tree. */
  readonly branches?: Readonly<Record<string, string>>;
  /** Further commits, which no branch points at. */
  readonly commits?: readonly string[];
  /** Files of every commit, by relative path. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A build as the function sees it that plays the recipe on a memory build server. */
export interface MemoryBuild {
  /** Host name of the server. */
  readonly server: string;
  readonly repository: string;
  /** The resolved commit. */
  readonly commit: string;
  readonly recipe: 'kernel' | 'make' | 'script';
  /** The recipe's arguments, as planned by the SDK; those of a kernel begin with ARCH. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The server's files. */
  readonly files: MemoryFileSystem;
  /** Folder of the source tree, absolute. */
  readonly src: string;
  /** Folder for what is built out of tree, absolute. */
  readonly out: string;
  /** Aborts when the build is stopped. */
  readonly signal: AbortSignal;
  /** Adds to the build's log. */
  log(text: string | Uint8Array): Promise<void>;
  /** Writes a file where this recipe's outputs are looked for; folders are made. */
  output(path: string, data: string | Uint8Array): void;
  /** Lets time pass. @throws `aborted` when the build is stopped meanwhile. */
  sleep(durationMs: number): Promise<void>;
}

/** Plays a recipe. Gives its exit code, 0 when it gives none; one that throws exits with 1 and says why. */
export type MemoryBuildFunction = (build: MemoryBuild) => number | void | Promise<number | void>;

const recipes = new Map<string, MemoryBuild['recipe']>([
  [kernelRecipe, 'kernel'],
  [makeRecipe, 'make'],
  [scriptRecipe, 'script'],
]);

/** Compiles in a second: a kernel image and its configuration, or `build/kernel.elf`. */
export const plainMemoryBuild: MemoryBuildFunction = async ({ recipe, args, commit, output, log, sleep: wait }) => {
  await log('  CC      init/main.o\n');
  await wait(1_000);
  await log('  LD      vmlinux\n');
  output(recipe === 'kernel' ? (args[7] ?? 'Image') : 'build/kernel.elf', `kernel of ${commit}\n`);
  if (recipe === 'kernel') output('.config', 'CONFIG_64BIT=y\n');
};

/** What the SDK's scripts on build servers do, by their text. */
export function memoryBuildScripts(
  repositories: ReadonlyMap<string, MemoryRepository>,
  build: MemoryBuildFunction,
): ReadonlyMap<string, MemoryCommand> {
  return new Map<string, MemoryCommand>([
    [buildScript, (context) => runBuild(context, repositories, build)],
    [collectScript, collect],
    [overScript, over],
    [removeScript, ({ argv: [, folder = ''], fs }) => fs.stat(folder) && fs.remove(folder, { recursive: true })],
    [cleanServerScript, clean],
    [resourceUseScript, resourceUse],
    [
      readNoteScript,
      ({ argv: [, path = ''], fs, stdout }) =>
        (fs.stat(path) && stdout.write(fs.readFile(path).subarray(0, 4096))) ?? 0,
    ],
  ]);
}

function over({ argv: [, mark = ''], fs }: MemoryCommandContext): void {
  fs.makeFolder(posix.dirname(mark), { recursive: true });
  fs.writeFile(mark, '');
}

/** A failure that the script tells by its code. */
class ToldFailure extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

async function runBuild(
  context: MemoryCommandContext,
  repositories: ReadonlyMap<string, MemoryRepository>,
  build: MemoryBuildFunction,
): Promise<number> {
  const { fs, stdout } = context;
  const [, job = '', cache = '', repository = '', branch = '', commit = '', recipe = '', ...args] = context.argv;
  const say = (text: string): Promise<void> => stdout.write(`bringup: ${text}\n`);
  const note = (text: string): void => fs.writeFile(`${job}/note`, `${text}\n`);
  const src = `${job}/src`;
  const out = `${job}/out`;
  try {
    for (const folder of [src, out]) if (fs.stat(folder) !== undefined) fs.remove(folder, { recursive: true });
    for (const folder of [out, cache]) fs.makeFolder(folder, { recursive: true });
    note('preparing');
    const known = repositories.get(repository);
    await say(`${known?.branches === undefined && repository.startsWith('/') ? 'copying' : 'fetching'} ${repository}`);
    const resolved = resolve(repository, known, branch, commit);
    fs.makeFolder(src);
    for (const [path, text] of Object.entries(known?.files ?? {})) writeBelow(fs, src, path, text);
    fs.writeFile(`${job}/commit`, `${resolved}\n`);
    note(`building ${resolved}`);
    await say(`source is at ${resolved}`);
    const kind = recipes.get(recipe);
    if (kind === undefined) throw new TypeError('the memory build server knows the recipes of the SDK only');
    const folder = kind === 'kernel' ? out : src;
    const startedAt = context.clock.now();
    const exitCode = await build({
      server: context.hostname,
      repository,
      commit: resolved,
      recipe: kind,
      args,
      env: context.env,
      files: fs,
      src,
      out,
      signal: context.signal,
      log: (text) => stdout.write(text),
      output: (path, data) => writeBelow(fs, folder, path, data),
      sleep: (durationMs) => sleep(context.clock, durationMs, context.signal),
    });
    // A memory recipe keeps one processor busy for as long as it runs.
    const seconds = (context.clock.now() - startedAt) / 1000;
    fs.writeFile(
      `${job}/times`,
      `0m0.00s 0m0.00s\n${Math.floor(seconds / 60)}m${(seconds % 60).toFixed(2)}s 0m0.00s\n`,
    );
    return exitCode ?? 0;
  } catch (error) {
    const full = error instanceof MemoryFileError && error.code === 'ENOSPC';
    const code = full ? 'disk-full' : error instanceof ToldFailure ? error.code : undefined;
    if (code !== undefined) leave(fs, `${job}/failure`, `${code}\n`);
    await say(
      full ? 'no space left on device while building' : error instanceof Error ? error.message : String(error),
    ).catch(() => undefined);
    return 1;
  }
}

/** A full disk still takes a few bytes: of a file that was there, or of the reserve for root. */
function leave(fs: MemoryFileSystem, path: string, text: string): void {
  const { capacityBytes } = fs;
  fs.capacityBytes = Infinity;
  fs.writeFile(path, text);
  fs.capacityBytes = capacityBytes;
}

function resolve(repository: string, known: MemoryRepository | undefined, branch: string, commit: string): string {
  if (known === undefined) {
    const message = repository.startsWith('/')
      ? `there is no folder ${repository} on this server`
      : `cannot fetch ${repository}`;
    throw new ToldFailure('source-missing', message);
  }
  const { branches, commits = [], files = {} } = known;
  if (branches === undefined) {
    if (commit === '' && branch === 'HEAD')
      return `tree-${createHash('sha256').update(JSON.stringify(files)).digest('hex').slice(0, 32)}`;
    throw new ToldFailure('commit-not-found', `${repository} is a plain source tree and has no branches or commits`);
  }
  if (commit === '') {
    const head = branch === 'HEAD' ? Object.values(branches)[0] : branches[branch];
    if (head !== undefined) return head;
    throw new ToldFailure('commit-not-found', `there is no branch or tag '${branch}' in ${repository}`);
  }
  const fitting = [...new Set([...Object.values(branches), ...commits])].filter((hash) => hash.startsWith(commit));
  if (fitting.length === 1 && fitting[0] !== undefined) return fitting[0];
  throw new ToldFailure('commit-not-found', `there is no commit ${commit} in ${repository}`);
}

function writeBelow(fs: MemoryFileSystem, folder: string, path: string, data: string | Uint8Array): void {
  const file = posix.join(folder, path);
  fs.makeFolder(posix.dirname(file), { recursive: true });
  fs.writeFile(file, data);
}

function clean({ argv: [, workspace = '', ...active], fs }: MemoryCommandContext): void {
  const folders = (path: string): readonly string[] => (fs.stat(path) === undefined ? [] : fs.list(path));
  let left = false;
  for (const id of folders(`${workspace}/builds`)) {
    const folder = `${workspace}/builds/${id}`;
    const runs = fs.stat(`${folder}/exit`) === undefined && fs.stat(`${folder}/pid`) !== undefined;
    if (runs || active.includes(id)) left = true;
    else fs.remove(folder, { recursive: true });
  }
  if (left) return;
  for (const name of folders(`${workspace}/git`)) {
    if (name.endsWith('.git')) fs.remove(`${workspace}/git/${name}`, { recursive: true });
  }
}

async function resourceUse({ argv: [, folder = ''], fs, stdout }: MemoryCommandContext): Promise<number> {
  if (fs.stat(folder) === undefined) return 1;
  const times = fs.stat(`${folder}/times`) === undefined ? '' : fs.readFile(`${folder}/times`).toString();
  const bytesBelow = (path: string): number => {
    const info = fs.stat(path);
    if (info?.kind === 'file') return fs.readFile(path).byteLength;
    return fs.list(path).reduce((sum, name) => sum + bytesBelow(`${path}/${name}`), 0);
  };
  await stdout.write(`${times.split('\n')[1] ?? ''}\n${Math.ceil(bytesBelow(folder) / 1024)}\n`);
  return 0;
}

async function collect({ argv, fs, stdout, stderr }: MemoryCommandContext): Promise<number> {
  const [, folder = '', most = '', ...patterns] = argv;
  let left = Number(most);
  if (fs.stat(folder)?.kind !== 'folder') {
    await stderr.write(`cd: can't cd to ${folder}\n`);
    return 2;
  }
  for (const [index, pattern] of patterns.entries()) {
    for (const path of glob(fs, folder, pattern)) {
      // oxlint-disable-next-line no-control-regex -- these are the characters to find
      if (/[\u0000-\u001f\u007f]/.test(path)) {
        await stdout.write(`name\t${index}\n`);
        continue;
      }
      const bytes = fs.readFile(posix.join(folder, path));
      left -= bytes.byteLength;
      if (left < 0) {
        await stdout.write(`large\t${index}\n`);
        return 0;
      }
      const hash = createHash('sha256').update(bytes).digest('hex');
      await stdout.write(`${index}\t${bytes.byteLength}\t${hash}\t${path}\n`);
    }
  }
  return 0;
}

/** Files that a shell pattern means, sorted; `*` and `?` match no `/` and no leading dot. */
function glob(fs: MemoryFileSystem, folder: string, pattern: string): string[] {
  let found = [''];
  for (const part of pattern.split('/')) {
    const wanted = new RegExp(
      `^${part
        .replace(/[.+^${}()|\\[\]]/g, '\\$&')
        .replaceAll('*', '[^/]*')
        .replaceAll('?', '[^/]')}$`,
    );
    const isLiteral = !/[*?]/.test(part);
    found = found.flatMap((path) => {
      if (isLiteral) return [posix.join(path, part)];
      const here = posix.join(folder, path);
      if (fs.stat(here)?.kind !== 'folder') return [];
      const names = fs
        .list(here)
        .filter((name) => wanted.test(name) && (part.startsWith('.') || !name.startsWith('.')));
      return names.map((name) => posix.join(path, name));
    });
  }
  return found.filter((path) => fs.stat(posix.join(folder, path))?.kind === 'file');
}
