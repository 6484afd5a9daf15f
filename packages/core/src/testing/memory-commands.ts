import { createHash } from 'node:crypto';
import { sleep } from '../async.ts';
import { MemoryFileError } from './memory-file-system.ts';
import type { MemoryCommand, MemoryCommandContext } from './memory-process.ts';
import { formatPrintf } from './memory-printf.ts';

/** The commands every memory host has, in the parts of them that programs use. */
export const builtInCommands: Readonly<Record<string, MemoryCommand>> = {
  true: () => 0,
  false: () => 1,
  echo({ argv, stdout }) {
    const silent = argv[1] === '-n';
    return stdout.write(`${argv.slice(silent ? 2 : 1).join(' ')}${silent ? '' : '\n'}`);
  },
  printf: ({ argv, stdout }) => stdout.write(formatPrintf(argv[1] ?? '', argv.slice(2))),
  pwd: ({ cwd, stdout }) => stdout.write(`${cwd}\n`),
  sleep: ({ argv, clock, signal }) => sleep(clock, Number(argv[1]) * 1_000, signal),
  async env(context) {
    const rest = context.argv.slice(1);
    const isVariable = (arg: string): boolean => /^[^=]+=/.test(arg);
    const commandAt = rest.findIndex((arg) => !isVariable(arg));
    const variables = (commandAt < 0 ? rest : rest.slice(0, commandAt)).map((arg) => {
      const at = arg.indexOf('=');
      return [arg.slice(0, at), arg.slice(at + 1)] as const;
    });
    const env = { ...context.env, ...Object.fromEntries(variables) };
    if (commandAt >= 0) return context.run(rest.slice(commandAt), { env });
    await context.stdout.write(
      Object.entries(env)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    );
    return 0;
  },
  async cat(context) {
    for await (const chunk of inputs(context, operands(context).names)) await context.stdout.write(chunk);
  },
  async head(context) {
    const { names, values } = operands(context, 'nc');
    const bytes: Uint8Array[] = [];
    for await (const chunk of inputs(context, names)) bytes.push(chunk);
    const all = Buffer.concat(bytes);
    const count = values.get('c');
    await context.stdout.write(
      all.subarray(0, count === undefined ? lineEnd(all, Number(values.get('n') ?? 10)) : Number(count)),
    );
  },
  async sha256sum(context) {
    const { names } = operands(context);
    for (const name of names.length === 0 ? ['-'] : names) {
      const hash = createHash('sha256');
      for await (const chunk of inputs(context, [name])) hash.update(chunk);
      // GNU marks a line whose name it had to escape with a leading backslash.
      const shown = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
      await context.stdout.write(`${shown === name ? '' : '\\'}${hash.digest('hex')}  ${shown}\n`);
    }
  },
  mkdir(context) {
    const { flags, names } = operands(context);
    for (const name of names) context.fs.makeFolder(context.path(name), { recursive: flags.has('p') });
  },
  rm(context) {
    const { flags, names } = operands(context);
    for (const name of names) {
      const path = context.path(name);
      if (context.fs.stat(path) === undefined && flags.has('f')) continue;
      if (context.fs.stat(path)?.kind === 'folder' && !flags.has('r')) throw new MemoryFileError('EISDIR', name);
      context.fs.remove(path, { recursive: true });
    }
  },
  mv(context) {
    const [from = '', to = ''] = operands(context).names;
    context.fs.rename(context.path(from), context.path(to));
  },
  touch(context) {
    for (const name of operands(context).names) context.fs.appendFile(context.path(name), '');
  },
  async ls(context) {
    const { flags, names } = operands(context);
    for (const name of names.length === 0 ? ['.'] : names) {
      const path = context.path(name);
      const isFile = context.fs.stat(path)?.kind === 'file';
      const shown = isFile ? [name] : context.fs.list(path);
      const hidden = flags.has('A') || isFile;
      await context.stdout.write(
        shown
          .filter((entry) => hidden || !entry.startsWith('.'))
          .map((entry) => `${entry}\n`)
          .join(''),
      );
    }
  },
  test: (context) => (holds(context, context.argv.slice(1)) ? 0 : 1),
  '[': (context) => (holds(context, context.argv.slice(1, -1)) ? 0 : 1),
};

/** Splits arguments into one-letter flags, values of the letters in `valued`, and the rest. */
function operands(
  { argv }: MemoryCommandContext,
  valued = '',
): { flags: ReadonlySet<string>; values: ReadonlyMap<string, string>; names: readonly string[] } {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  let at = 1;
  for (; at < argv.length; at += 1) {
    const arg = argv[at] ?? '';
    if (arg === '--') {
      at += 1;
      break;
    }
    if (!/^-[A-Za-z]/.test(arg)) break;
    const letter = arg.charAt(1);
    if (!valued.includes(letter)) for (const flag of arg.slice(1)) flags.add(flag);
    else if (arg.length > 2) values.set(letter, arg.slice(2));
    else values.set(letter, argv[(at += 1)] ?? '');
  }
  return { flags, values, names: argv.slice(at) };
}

async function* inputs(context: MemoryCommandContext, names: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const name of names.length === 0 ? ['-'] : names) {
    if (name === '-') yield* context.stdin;
    else yield* pieces(context.fs.readFile(context.path(name)));
  }
}

function* pieces(bytes: Buffer): Generator<Uint8Array> {
  const pieceBytes = 64 * 1024;
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

/** Where the first `count` lines end. */
function lineEnd(bytes: Buffer, count: number): number {
  let end = 0;
  for (let line = 0; line < count; line += 1) {
    const newline = bytes.indexOf(0x0a, end);
    if (newline < 0) return bytes.byteLength;
    end = newline + 1;
  }
  return end;
}

/** Evaluates what `test` is asked, without `-a`, `-o` and parentheses, as POSIX does by the number of arguments. */
function holds(context: MemoryCommandContext, args: readonly string[]): boolean {
  const [first = '', second = '', third = ''] = args;
  if (args.length === 3 && second === '=') return first === third;
  if (args.length === 3 && second === '!=') return first !== third;
  if (args.length > 1 && first === '!') return !holds(context, args.slice(1));
  if (args.length === 1) return first !== '';
  if (first === '-z') return second === '';
  if (first === '-n') return second !== '';
  const info = context.fs.stat(context.path(second));
  if (info === undefined) return false;
  if (first === '-f') return info.kind === 'file';
  if (first === '-d') return info.kind === 'folder';
  if (first === '-s') return info.sizeBytes > 0;
  if (first === '-x') return (info.mode & 0o111) !== 0;
  return first === '-e';
}
