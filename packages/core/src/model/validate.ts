import * as v from 'valibot';
import { invalidInput, type InputIssue } from '../errors.ts';

/**
 * Checks an input against its schema, and against rules that concern more than one field.
 * @param rules - told of the input as it is; they speak up even when fields are wrong by themselves.
 * @throws `invalid-input` with one issue per field.
 */
export function validate<T>(
  what: string,
  schema: v.GenericSchema<unknown, T>,
  input: unknown,
  rules: (input: Readonly<Record<string, unknown>>) => readonly InputIssue[] = () => [],
): T {
  const result = v.safeParse(schema, input);
  const seen = new Map<string, string>();
  for (const issue of result.issues ?? []) {
    const path = v.getDotPath(issue) ?? '';
    if (!seen.has(path)) seen.set(path, wordsOf(issue));
  }
  if (typeof input === 'object' && input !== null) {
    for (const { path, message } of rules(input as Record<string, unknown>)) {
      if (!seen.has(path)) seen.set(path, message);
    }
  }
  if (result.success && seen.size === 0) return result.output;
  throw invalidInput(
    what,
    [...seen].map(([path, message]) => ({ path, message })),
  );
}

/** Valibot's own words repeat what was given, which can be a password in the wrong place. */
function wordsOf({ message, expected, received }: v.BaseIssue<unknown>): string {
  if (!message.endsWith(` received ${received}`)) return message;
  if (message.startsWith('Invalid key')) return expected === 'never' ? 'there is no such field' : 'is missing';
  return expected === null ? 'is wrong' : `must be ${expected}`;
}
