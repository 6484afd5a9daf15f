import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { BringupError } from '@bringup/core';
import { configError, parseConfig, type ConfigFile, type ConfigLine } from './config-file.ts';
import { expandTilde } from './config-tokens.ts';
import { messageOf } from './errors.ts';

/** OpenSSH's own bound on files that include files. */
const deepestInclude = 16;

/** A configuration file to read. */
export interface ConfigPath {
  readonly path: string;
  /** Whether it may be missing. */
  readonly optional: boolean;
  /** Whether nobody but its owner, who is us or root, may be able to write it. */
  readonly ownOnly: boolean;
}

/**
 * Reads configuration files and those they include.
 * @throws `invalid-input` for one that is malformed, missing, unreadable, or writable by others.
 */
export async function readConfig(paths: readonly ConfigPath[], home: string): Promise<readonly ConfigFile[]> {
  const files = await Promise.all(paths.map((path) => readOne(path, home, 0)));
  return files.filter((file) => file !== undefined);
}

async function readOne(wanted: ConfigPath, home: string, depth: number): Promise<ConfigFile | undefined> {
  const { path } = wanted;
  let text: string;
  try {
    if (wanted.ownOnly) await checkOwner(path);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (wanted.optional && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    if (error instanceof BringupError) throw error;
    throw new BringupError('invalid-input', `The SSH configuration can't be read: ${messageOf(error)}.`, {
      details: { file: path },
      cause: error,
    });
  }
  const lines = parseConfig(text, path).map(async (line): Promise<ConfigLine> => {
    if (line.keyword !== 'include') return line;
    if (depth >= deepestInclude) throw configError(line, 'goes too deep: does a file include itself?');
    const base = dirname(path).startsWith('/etc/ssh') ? '/etc/ssh' : join(home, '.ssh');
    const included = await Promise.all(
      (await includedPaths(line, base, home)).map((one) =>
        readOne({ path: one, optional: true, ownOnly: wanted.ownOnly }, home, depth + 1),
      ),
    );
    return { ...line, included: included.filter((file) => file !== undefined) };
  });
  return { path, lines: await Promise.all(lines) };
}

async function checkOwner(path: string): Promise<void> {
  const { uid, mode } = await stat(path);
  if ((uid === 0 || uid === process.getuid?.()) && (mode & 0o022) === 0) return;
  throw new BringupError(
    'invalid-input',
    `The SSH configuration ${path} could have been written by others. It must belong to you or root: chmod go-w '${path}'.`,
    { details: { file: path } },
  );
}

async function includedPaths(line: ConfigLine, base: string, home: string): Promise<readonly string[]> {
  const found = await Promise.all(
    line.args.map((text) => {
      const path = expandTilde(text, home, line);
      return glob(isAbsolute(path) ? path : join(base, path));
    }),
  );
  return found.flat();
}

/** The files a pattern names, sorted, as glob(7) has it. */
async function glob(pattern: string): Promise<readonly string[]> {
  let found: readonly string[] = ['/'];
  for (const segment of pattern.split('/').filter((part) => part !== '')) {
    if (!/[*?[]/.test(segment)) {
      found = found.map((path) => join(path, segment));
      continue;
    }
    const names = globName(segment);
    const deeper = await Promise.all(
      found.map(async (path) => (await readdir(path).catch(() => [])).filter(names).map((name) => join(path, name))),
    );
    found = deeper.flat();
  }
  return [...found].sort();
}

function globName(segment: string): (name: string) => boolean {
  const source = segment.replaceAll(/\[!?[^\]]+\]|[^\w]/g, (part) => {
    if (part === '*') return '.*';
    if (part === '?') return '.';
    if (part.length === 1) return `\\${part}`;
    return part.replace('[!', '[^').replaceAll('\\', '\\\\');
  });
  const whole = new RegExp(`^${source}$`, 's');
  return (name) => whole.test(name) && (segment.startsWith('.') || !name.startsWith('.'));
}
