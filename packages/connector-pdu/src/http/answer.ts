import * as v from 'valibot';
import { failed } from '../errors.ts';

/** A device's answer, which must have a certain shape. @throws `power-failed` for another one. */
export function shaped<T>(schema: v.GenericSchema<unknown, T>, answer: unknown): T {
  const result = v.safeParse(schema, answer);
  if (result.success) return result.output;
  const path = v.getDotPath(result.issues[0]);
  throw failed(`its answer is not understood${path === null ? '' : ` (${path})`}; is this the right kind of device?`);
}

/** A device's answer, which must be JSON. @throws `power-failed`, retryable: devices that start up say other things. */
export function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw failed(`it answers ${path} with something that is no JSON`, { retryable: true });
  }
}
