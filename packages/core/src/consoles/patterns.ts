import { invalidInput } from '../errors.ts';
import { LinearRegex } from './linear-regex.ts';
import { isHarmless, requiredText } from './regex-syntax.ts';

/**
 * What to look for in one console line: a string is found as it stands; a `RegExp`, or its JSON
 * form, is matched against the line. Lines are bounded (`limits.consoleLineBytes`). Expressions that
 * could take longer than quadratic time are matched in linear time instead, which knows everything but
 * look-around and back-references.
 */
export type Pattern = string | RegExp | { readonly regex: string; readonly flags?: string };

/** Where a pattern was found. */
export interface PatternMatch {
  /** Index of the first matched character. */
  readonly start: number;
  /** Index behind the last matched character. */
  readonly end: number;
  /** The match and its groups; a group that took no part is the empty string. */
  readonly groups: readonly string[];
}

/** A pattern that is ready to be used. */
export interface CompiledPattern {
  /** The pattern as a person would write it. */
  readonly label: string;
  find(line: string): PatternMatch | undefined;
}

/** Makes a pattern ready for use. @throws `invalid-input` for an empty pattern, a malformed expression, or one that no bound is known for. */
export function compilePattern(pattern: Pattern): CompiledPattern {
  if (typeof pattern === 'string') {
    if (pattern === '') throw invalidInput('Pattern', [{ path: '', message: 'an empty string matches everything' }]);
    return {
      label: pattern,
      find(line) {
        const start = line.indexOf(pattern);
        return start < 0 ? undefined : { start, end: start + pattern.length, groups: [pattern] };
      },
    };
  }
  const regex = toRegExp(pattern);
  return { label: String(regex), find: isHarmless(regex.source) ? backtracking(regex) : linear(regex) };
}

function backtracking(regex: RegExp): CompiledPattern['find'] {
  return (line) => {
    const match = regex.exec(line);
    if (match === null) return undefined;
    return { start: match.index, end: match.index + match[0].length, groups: match.map((group) => group ?? '') };
  };
}

function linear(regex: RegExp): CompiledPattern['find'] {
  const compiled = compileLinear(regex);
  const required = requiredText(regex.source, regex.flags);
  return (line) => {
    if (!line.includes(required)) return undefined;
    const slots = compiled.exec(line);
    if (slots === undefined) return undefined;
    const groups = Array.from({ length: slots.length / 2 }, (_, group) =>
      line.slice(Math.max(0, slots[2 * group] ?? 0), Math.max(0, slots[2 * group + 1] ?? 0)),
    );
    return { start: slots[0] ?? 0, end: slots[1] ?? 0, groups };
  };
}

function compileLinear(regex: RegExp): LinearRegex {
  try {
    return new LinearRegex(regex.source, regex.flags);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw invalidInput('Pattern', [
      { path: '', message: `${String(regex)} could take for ever on some lines: ${why}; put it more simply` },
    ]);
  }
}

function toRegExp(pattern: Exclude<Pattern, string>): RegExp {
  const source = pattern instanceof RegExp ? pattern.source : pattern.regex;
  const flags = pattern.flags ?? '';
  try {
    // Global and sticky expressions remember where they stopped; a pattern must not.
    return new RegExp(source, flags.replaceAll(/[gy]/g, ''));
  } catch (error) {
    throw invalidInput('Pattern', [
      { path: '', message: `/${source}/${flags}: ${error instanceof Error ? error.message : 'malformed'}` },
    ]);
  }
}
