import type { SpawnOptions } from '../contracts/shell.ts';
import { type InputIssue, invalidInput } from '../errors.ts';

const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Checks a command before it reaches a target: there is one, nothing holds a NUL (the end of a
 * string to every kernel), and variables have names that no shell reads as anything else.
 * @throws `invalid-input`.
 */
export function checkCommand(argv: readonly string[], options: SpawnOptions = {}): void {
  const issues: InputIssue[] = [];
  const noNul = (path: string, value: string): void => {
    if (value.includes('\0')) issues.push({ path, message: 'must not contain a NUL character' });
  };
  if (argv.length === 0 || argv[0] === '') issues.push({ path: 'argv.0', message: 'must name a command' });
  argv.forEach((arg, index) => noNul(`argv.${index}`, arg));
  if (options.cwd !== undefined) noNul('cwd', options.cwd);
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (!variableName.test(name)) {
      issues.push({
        path: `env.${name}`,
        message: 'must be a name of letters, digits and _, not starting with a digit',
      });
    }
    noNul(`env.${name}`, value);
  }
  if (issues.length > 0) throw invalidInput('Command', issues);
}

/** Checks a path on a target. @throws `invalid-input` unless it is absolute and without NUL. */
export function checkTargetPath(path: string): void {
  if (path.startsWith('/') && !path.includes('\0')) return;
  throw invalidInput('Path', [{ path: 'path', message: `must be absolute and without NUL: ${JSON.stringify(path)}` }]);
}

/** A command in a message: its name only, since arguments may be secret. */
export function describeCommand(argv: readonly string[], hostname: string): string {
  return `Command ${JSON.stringify(argv[0] ?? '')} on ${hostname}`;
}
