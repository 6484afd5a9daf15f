import * as v from 'valibot';
import { limits } from '../limits.ts';
import { argvField, connectionFields, millisecondsField } from '../model/fields.ts';
import type { TestCommand, TestConfig } from '../model/test-run.ts';

const command: v.GenericSchema<unknown, TestCommand> = v.strictObject({
  name: v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty')),
  argv: v.pipe(argvField, v.minLength(1, 'must name a program')),
  results: v.exactOptional(v.picklist(['auto', 'tap', 'exit-status'], 'must be auto, tap or exit-status')),
});

const commands = v.pipe(
  v.array(command),
  v.minLength(1, 'name at least one command'),
  v.maxLength(limits.maxTestCommands, `at most ${limits.maxTestCommands} commands`),
);

const hangPolicy = v.exactOptional(v.picklist(['power-cycle', 'leave'], 'must be power-cycle or leave'));

/** Schema of a {@link TestConfig}. */
export const testConfigSchema: v.GenericSchema<unknown, TestConfig> = v.variant(
  'from',
  [
    v.strictObject({
      from: v.literal('console'),
      quietMs: v.exactOptional(millisecondsField),
      timeoutMs: v.exactOptional(millisecondsField),
      hangPolicy,
    }),
    v.strictObject({
      from: v.literal('console-shell'),
      commands,
      username: v.exactOptional(v.pipe(v.string(), v.nonEmpty('must not be empty'))),
      timeoutMs: v.exactOptional(millisecondsField),
      hangPolicy,
    }),
    v.strictObject({
      from: v.literal('shell'),
      target: v.exactOptional(v.strictObject(connectionFields)),
      commands,
      timeoutMs: v.exactOptional(millisecondsField),
      hangPolicy,
    }),
  ],
  'must be console, console-shell or shell',
);
