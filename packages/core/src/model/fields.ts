import { isIP } from 'node:net';
import * as v from 'valibot';
import { architectures } from './architecture.ts';

/** Schema of one field. */
export type Field<T> = v.GenericSchema<unknown, T>;

/** Schema of a field that may be left out. */
export type OptionalField<T> = v.ExactOptionalSchema<Field<T>, undefined>;

/** Name of a machine or board. */
export const nameField: v.GenericSchema<unknown, string> = v.pipe(
  v.string('must be a string'),
  v.regex(/^[A-Za-z0-9]([A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?$/, 'must be a host name: letters, digits, . _ : and -'),
);

/** One of the known architectures. */
export const architectureField: v.GenericSchema<unknown, (typeof architectures)[number]> = v.picklist(
  architectures,
  (issue) => `${issue.received} is not an architecture; known are ${architectures.join(', ')}`,
);

/** A folder on the target. */
export const absolutePathField: v.GenericSchema<unknown, string> = v.pipe(
  v.string('must be a string'),
  v.regex(/^\/[^\0]*$/, 'must be an absolute path'),
  v.check((path) => !path.split('/').includes('..'), "must not contain '..'"),
);

/** A whole number of at least one. */
export const countField: v.GenericSchema<unknown, number> = v.pipe(
  v.number('must be a number'),
  v.integer('must be a whole number'),
  v.minValue(1, 'must be at least 1'),
);

/** Labels: short names and values, as they can stand in a selector. */
export const labelsField: v.GenericSchema<unknown, Record<string, string>> = v.record(
  v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, 'a label key has letters, digits and . _ / -')),
  v.pipe(v.string('a label value must be a string'), v.maxLength(255, 'a label value has at most 255 characters')),
);

/** The fields that say how a resource is reached. */
export const connectionFields: {
  readonly shell: OptionalField<string>;
  readonly hostname: Field<string>;
  readonly ipAddress: OptionalField<string>;
  readonly sshPort: OptionalField<number>;
  readonly sshUsername: OptionalField<string>;
  readonly sshKeyPath: OptionalField<string>;
} = {
  shell: v.exactOptional(v.string('must be the name of a connector')),
  hostname: nameField,
  ipAddress: v.exactOptional(
    v.pipe(
      v.string('must be an IP address'),
      v.check((text) => isIP(text) !== 0, 'must be an IP address'),
    ),
  ),
  sshPort: v.exactOptional(
    v.pipe(
      v.number('must be a number'),
      v.integer('must be a whole number'),
      v.minValue(1, 'must be a port, 1 to 65535'),
      v.maxValue(65_535, 'must be a port, 1 to 65535'),
    ),
  ),
  sshUsername: v.exactOptional(v.pipe(v.string(), v.nonEmpty('must not be empty'))),
  sshKeyPath: v.exactOptional(v.pipe(v.string(), v.nonEmpty('must not be empty'))),
};

/** The fields that say what a resource must at least have. */
export const minimumFields: {
  readonly minCpuCores: OptionalField<number>;
  readonly minMemoryMb: OptionalField<number>;
  readonly minStorageGb: OptionalField<number>;
} = {
  minCpuCores: v.exactOptional(countField),
  minMemoryMb: v.exactOptional(v.pipe(v.number('must be a number'), v.minValue(0, 'must not be negative'))),
  minStorageGb: v.exactOptional(v.pipe(v.number('must be a number'), v.minValue(0, 'must not be negative'))),
};

/** Environment variables. Names are those a POSIX shell accepts. */
export const environmentField: v.GenericSchema<unknown, Record<string, string>> = v.record(
  v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a variable name has letters, digits and _')),
  noNul('a variable must be a string'),
);

/** Words of a command. */
export const argvField: v.GenericSchema<unknown, string[]> = v.array(noNul('must be a string'));

/** A time span. */
export const millisecondsField: v.GenericSchema<unknown, number> = v.pipe(
  v.number('must be a number of milliseconds'),
  v.minValue(1, 'must be at least 1 ms'),
);

/** Id of a record. */
export const idField: v.GenericSchema<unknown, string> = v.pipe(
  v.string('must be a string'),
  v.nonEmpty('must not be empty'),
);

/** A string that can be an argument of a command. */
export function noNul(message: string): v.GenericSchema<unknown, string> {
  return v.pipe(
    v.string(message),
    v.check((text) => !text.includes('\0'), 'must not contain NUL'),
  );
}
