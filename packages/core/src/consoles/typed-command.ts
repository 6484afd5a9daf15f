import { invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import { argumentFault, bytesOfArgument } from '../model/argument.ts';
import { quoteShellCommand, quoteShellWord } from './quote.ts';

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
/** What `printf` prints as it is; not a dash, which would make an option of it. */
const literal = /^[A-Za-z0-9_./:,+@=]$/;
/** Longest word that is typed as it is, and longest piece of one that is put together. */
const pieceChars = 160;

/**
 * Puts an argv so that a POSIX shell behind a terminal runs exactly it. Words that hold control characters
 * or anything beyond ASCII, and long ones, are put together by `printf` in variables first.
 * @throws `invalid-input` for what is no argument, and when the command's own line is still too long to type.
 */
export function typedCommand(argv: readonly string[]): TypedCommand {
  const issues = argv.flatMap((word, index) => {
    const message = argumentFault(word);
    return message === undefined ? [] : [{ path: `argv.${index}`, message }];
  });
  if (issues.length > 0) throw invalidInput('Console command', issues);
  // As it stands if that can be; else with what is longest in variables.
  const plain = build(argv, limits.consoleInputLineBytes);
  const typed = longestLine(plain.command) <= limits.consoleInputLineBytes ? plain : build(argv, pieceChars);
  const tooLong = longestLine(typed.command);
  if (tooLong <= limits.consoleInputLineBytes) return typed;
  throw invalidInput('Console command', [
    {
      path: 'argv',
      message: `a line of ${tooLong} bytes is too long to type into a terminal (at most ${limits.consoleInputLineBytes}): give fewer arguments`,
    },
  ]);
}

function build(argv: readonly string[], longestPlain: number): TypedCommand {
  const before: string[] = [];
  const variables: string[] = [];
  let line = '';
  const assign = (assignment: string): void => {
    if (line.length + assignment.length + 2 > limits.consoleInputLineBytes) {
      before.push(line);
      line = '';
    }
    line += line === '' ? assignment : `; ${assignment}`;
  };
  const words = argv.map((word, index) => {
    const quoted = index === 0 ? quoteShellCommand([word]) : quoteShellWord(word);
    if (harmless.test(word) && longestLine(quoted) <= longestPlain) return quoted;
    const name = `bringup_${variables.length}`;
    variables.push(name);
    assign(`${name}=`);
    // A substitution drops line ends at its end, so the piece ends with something else.
    for (const piece of piecesOf(word)) assign(`bringup_=$(printf '${piece}x'); ${name}=$${name}\${bringup_%x}`);
    return `"$${name}"`;
  });
  if (line !== '') before.push(line);
  const command = words.join(' ');
  return { before, command, after: variables.length === 0 ? '' : '; unset bringup_ ' + variables.join(' ') };
}

/** A word in pieces, as `printf` takes them. */
function* piecesOf(word: string): Generator<string> {
  let piece = '';
  for (const character of word) {
    piece += literal.test(character)
      ? character
      : Array.from(bytesOfArgument(character), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
    if (piece.length < 4 * pieceChars) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}

function longestLine(text: string): number {
  return Math.max(...text.split('\n').map((line) => Buffer.byteLength(line)));
}
