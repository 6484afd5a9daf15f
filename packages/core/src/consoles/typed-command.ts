import { invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import { argumentFault, bytesOfArgument } from '../model/argument.ts';
import { quoteShellCommand } from './quote.ts';

/** A command as it is typed into a terminal. */
export interface TypedCommand {
  /** Lines to type first; they set the variables that `command` uses. */
  readonly before: readonly string[];
  /** The command itself; may hold line ends inside of quotes. */
  readonly command: string;
  /** What to type behind the command, to forget those variables. */
  readonly after: string;
}

/** What a terminal hands on as it is: others are keys to it (erase, interrupt, complete a name). */
const harmless = /^[\n\x20-\x7e]*$/;
/** What {@link ConsoleShell} types around a command, in the same line. */
const aroundBytes = 120;
/** What `printf` prints as it is; not a dash, which would make an option of it. */
const literal = /^[A-Za-z0-9_./:,+@=]$/;

/**
 * Puts an argv so that a POSIX shell behind a terminal runs exactly it. One that holds control characters
 * or anything beyond ASCII, or that is too long for a line, is put together by `printf` in a variable first.
 * @throws `invalid-input` for what is no argument.
 */
export function typedCommand(argv: readonly string[]): TypedCommand {
  const issues = argv.flatMap((word, index) => {
    const message = argumentFault(word);
    return message === undefined ? [] : [{ path: `argv.${index}`, message }];
  });
  if (issues.length > 0) throw invalidInput('Console command', issues);
  const command = quoteShellCommand(argv);
  const longest = limits.consoleInputLineBytes - aroundBytes;
  if (harmless.test(command) && command.split('\n').every((line) => line.length <= longest))
    return { before: [], command, after: '' };
  return {
    before: ['bringup=', ...Array.from(piecesOf(command), appended)],
    command: 'eval "$bringup"',
    after: '; unset bringup bringup_',
  };
}

/** A substitution drops line ends at its end, so the piece ends with something else. */
function appended(piece: string): string {
  return `bringup_=$(printf '${piece}x'); bringup=$bringup\${bringup_%x}`;
}

/** A text in pieces, as `printf` takes them. */
function* piecesOf(text: string): Generator<string> {
  const longest = limits.consoleInputLineBytes - appended('').length;
  let piece = '';
  for (const character of text) {
    const printed = literal.test(character)
      ? character
      : Array.from(bytesOfArgument(character), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
    if (piece.length + printed.length > longest) {
      yield piece;
      piece = '';
    }
    piece += printed;
  }
  if (piece !== '') yield piece;
}
