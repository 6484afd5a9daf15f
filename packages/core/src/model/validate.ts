import * as v from 'valibot';
import { invalidInput } from '../errors.ts';

/** Checks an input against its schema. @throws `invalid-input` with one issue per field. */
export function validate<T>(what: string, schema: v.GenericSchema<unknown, T>, input: unknown): T {
  const result = v.safeParse(schema, input);
  if (result.success) return result.output;
  const seen = new Map<string, string>();
  for (const issue of result.issues) {
    const path = v.getDotPath(issue) ?? '';
    if (!seen.has(path)) seen.set(path, issue.message);
  }
  throw invalidInput(
    what,
    [...seen].map(([path, message]) => ({ path, message })),
  );
}
