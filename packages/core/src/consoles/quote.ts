/**
 * One word for a POSIX shell: single-quoted, so that nothing in it is expanded. Safe words stay
 * as they are, to keep logs readable.
 * @throws TypeError when the word holds a NUL byte, which no argument can carry.
 */
export function quoteShellWord(word: string): string {
  if (word.includes('\0')) throw new TypeError('a shell argument cannot hold a NUL byte');
  if (/^[A-Za-z0-9_./:,+@%-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** A command line for a POSIX shell that runs exactly `argv`. @throws TypeError, see {@link quoteShellWord}. */
export function quoteShellCommand(argv: readonly string[]): string {
  // A bare keyword in the first place would start a compound command.
  return argv.map((word, index) => (index === 0 && keywords.has(word) ? `'${word}'` : quoteShellWord(word))).join(' ');
}

const keywords: ReadonlySet<string> = new Set([
  'case',
  'do',
  'done',
  'elif',
  'else',
  'esac',
  'fi',
  'for',
  'function',
  'if',
  'in',
  'select',
  'then',
  'time',
  'until',
  'while',
]);
