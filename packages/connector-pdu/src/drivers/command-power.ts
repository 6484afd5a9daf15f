import type { PowerState, Secret } from '@bringup/core';
import * as v from 'valibot';
import { namedOutlets, type PduDriver } from '../driver.ts';
import { checked, methodField, optional, secret } from '../options.ts';
import { CommandRunner, expectSuccess, shellFields, type ShellAccess } from '../shell/runner.ts';
import { stateByPattern, statePatterns, type StatePatterns } from '../state-patterns.ts';

/** Options of {@link commandPower}. */
export interface CommandPowerOptions extends ShellAccess {
  /** The command and its arguments; `{outlet}` stands for the outlet. No shell looks at them. */
  readonly on: readonly string[];
  readonly off: readonly string[];
  /** The command that tells the state on its standard output, and what it says. Left out: nothing is read back. */
  readonly state?: { readonly argv: readonly string[] } & StatePatterns;
  /** What each command reads on its standard input, such as a password; arguments are seen by all on the machine. */
  readonly stdin?: Secret;
  /** Default `network_pdu`. */
  readonly method?: PduDriver['method'];
}

const argv = v.pipe(v.array(v.string('must be a string')), v.minLength(1, 'must have at least the command'));
const schema = v.strictObject({
  ...shellFields,
  on: argv,
  off: argv,
  state: v.exactOptional(v.strictObject({ argv, ...statePatterns })),
  stdin: optional(secret),
  method: optional(methodField),
});

/** Anything that a command on some machine switches. @throws `invalid-input`. */
export function commandPower(options: CommandPowerOptions): PduDriver {
  checked('the commandPower options', schema, options);
  const { on, off, state, stdin, method = 'network_pdu' } = options;
  const runner = new CommandRunner(options);
  const input = stdin === undefined ? {} : { stdin };
  const filled = (words: readonly string[], outlet: string): string[] =>
    words.map((word) => word.replaceAll('{outlet}', () => outlet));
  return {
    kind: 'command',
    address: runner.address,
    method,
    tellsState: state !== undefined,
    // No name may begin with a dash: it would be an option of the command.
    checkOutlet: namedOutlets(/[\w.:@/][\w.:@/-]{0,127}/, 'socket-4: letters, digits and . : @ / _ -'),
    async switch(outlet, wanted, call): Promise<void> {
      const words = filled(wanted === 'on' ? on : off, outlet);
      expectSuccess(words[0] ?? '', await runner.run(words, call, input));
    },
    async read(outlet, call): Promise<PowerState> {
      const words = state === undefined ? ['true'] : filled(state.argv, outlet);
      const answer = await runner.run(words, call, input);
      expectSuccess(words[0] ?? '', answer);
      return state === undefined ? 'unknown' : stateByPattern(answer.stdout, state);
    },
  };
}
