import type { SpawnOptions } from '../contracts/shell.ts';
import { type InputIssue, invalidInput } from '../errors.ts';
import { argumentFault, textFault } from '../model/argument.ts';

const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Checks a command before it reaches a target: there is one, nothing holds a NUL (the end of a
 * string to every kernel) or what is no text, and variables have names that no shell reads as
 * anything else.
 * @throws `invalid-input`.
 */
export function checkCommand(argv: readonly string[], options: SpawnOptions = {}): void {
  const issues: InputIssue[] = [];
  const note = (path: string, message: string | undefined): void => {
    if (message !== undefined) issues.push({ path, message });
  };
  if (argv.length === 0 || argv[0] === '') issues.push({ path: 'argv.0', message: 'must name a command' });
  argv.forEach((arg, index) => note(`argv.${index}`, argumentFault(arg)));
  if (options.cwd !== undefined) note('cwd', textFault(options.cwd));
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (!variableName.test(name)) {
      issues.push({
        path: `env.${name}`,
        message: 'must be a name of letters, digits and _, not starting with a digit',
      });
    }
    note(`env.${name}`, textFault(value));
  }
  if (issues.length > 0) throw invalidInput('Command', issues);
}

/** Checks a path on a target. @throws `invalid-input` unless it is absolute and text. */
export function checkTargetPath(path: string): void {
  const fault = path.startsWith('/') ? textFault(path) : 'must be absolute';
  if (fault !== undefined) throw invalidInput('Path', [{ path: 'path', message: `${fault}: ${JSON.stringify(path)}` }]);
}

/** A command in a message: its name only, since arguments may be secret. */
export function describeCommand(argv: readonly string[], hostname: string): string {
  return `Command ${JSON.stringify(argv[0] ?? '')} on ${hostname}`;
}
