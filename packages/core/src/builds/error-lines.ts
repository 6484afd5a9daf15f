import { cleanConsoleText } from '../consoles/console-text.ts';
import { limits } from '../limits.ts';

// What compilers, linkers, make, Kconfig and shells say when they mean it.
const telling = [
  /\b(?:fatal )?error:/i,
  /\bundefined reference to\b/,
  /\bmultiple definition of\b/,
  /^(?:.*\/)?ld(?:\.\w+)?: /,
  /^make(?:\[\d+\])?: \*\*\* /,
  /\bNo such file or directory\b/,
  /: (?:command )?not found$/,
  /\bNo space left on device\b/,
];

/**
 * The lines of a failed build's log that tell why, in order; its last lines when none does. Errors are printed on
 * terminals: the lines come without escape sequences.
 */
export function errorLines(log: string): string[] {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  const found = lines.filter((line) => telling.some((pattern) => pattern.test(line.slice(0, 2000))));
  const chosen = found.length > 0 ? found.slice(0, limits.errorLines) : lines.slice(-5);
  return chosen.map((line) => cleanConsoleText(line.slice(0, limits.errorLineChars)));
}
