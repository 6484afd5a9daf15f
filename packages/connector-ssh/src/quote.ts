import { argumentFault, bytesOfArgument, invalidInput, textFault } from '@bringup/core';
import type { SpawnOptions } from '@bringup/core';

/** What a command says on its standard error before it starts, followed by its process id. */
export const pidMarker = 'bringup-pid:';

/** The kernel hands a command line to the login shell as one argument, of at most 128 KiB. */
const maxCommandBytes = 128 * 1024 - 1;

/** Utilities that POSIX has every shell behave alike in: its own save a third of the time of a program. */
const shellUtilities = new Set(['true', 'false', 'test']);

const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** `text` as one word of a POSIX shell, whatever is in it but NUL. */
export function quoteWord(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * The command line by which a login shell becomes the given command. The shell first says its
 * process id on standard error: `exec` keeps it, and it is the command's process group too, since
 * sshd starts every command as the leader of one. So signals reach the whole group, at no extra
 * round trip for the many commands that never get one.
 * @throws `invalid-input` for an empty argv, what is no argument, a bad variable name or too long a line.
 */
export function commandLine(argv: readonly string[], options: Pick<SpawnOptions, 'cwd' | 'env'> = {}): string {
  checkCommand(argv, options);
  const { cwd, env } = options;
  const folder = cwd === undefined ? '' : `CDPATH= cd -- ${quoteWord(folderOperand(cwd))} || exit 1;`;
  const variables = Object.entries(env ?? {})
    .map(([name, value]) => `export ${name}=${quoteWord(value)};`)
    .join('');
  const program = argv[0] ?? '';
  // `exec --` is not understood by dash; such a command runs as the shell's child instead.
  const exec = shellUtilities.has(program) || program.startsWith('-') ? '' : 'exec ';
  const line = `${folder}echo "${pidMarker}$$" >&2;${variables}${exec}${argv.map(quoteWord).join(' ')}`;
  if (bytesOfArgument(line).byteLength > maxCommandBytes) {
    throw invalidInput('command', [
      {
        path: 'argv',
        message: `is longer than ${maxCommandBytes} bytes once quoted; pass the bulk of it on standard input`,
      },
    ]);
  }
  return line;
}

function checkCommand(argv: readonly string[], { cwd, env }: Pick<SpawnOptions, 'cwd' | 'env'>): void {
  const issues: { path: string; message: string }[] = [];
  const note = (path: string, message: string | undefined): void => {
    if (message !== undefined) issues.push({ path, message });
  };
  if (argv.length === 0) issues.push({ path: 'argv', message: 'is empty' });
  argv.forEach((word, index) => note(`argv.${index}`, argumentFault(word)));
  if (cwd !== undefined) note('cwd', textFault(cwd));
  for (const [name, value] of Object.entries(env ?? {})) {
    if (!variableName.test(name)) note('env', `${JSON.stringify(name)} is no name of a variable`);
    note(`env.${name}`, textFault(value));
  }
  if (issues.length > 0) throw invalidInput('command', issues);
}

/** `cd -` would go back to another folder than the one called `-`. */
function folderOperand(cwd: string): string {
  return cwd.startsWith('/') ? cwd : `./${cwd}`;
}
