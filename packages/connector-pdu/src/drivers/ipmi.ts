import type { PowerState, Secret } from '@bringup/core';
import * as v from 'valibot';
import { type DriverCall, namedOutlets, type PduDriver } from '../driver.ts';
import { failed, refused, unreachable } from '../errors.ts';
import { checked, hostAndPort, hostField, optional, secret, text, whole } from '../options.ts';
import { type CommandAnswer, CommandRunner, excerpt, shellFields, type ShellAccess } from '../shell/runner.ts';

/** Options of {@link ipmi}. */
export interface IpmiOptions extends ShellAccess {
  /** The BMC's host name or address, with `:port` where it is not 623. */
  readonly host: string;
  readonly username: string;
  readonly password: Secret;
  /** Cipher suite; 17 (SHA-256) where the BMC has it. Default: ipmitool's. */
  readonly cipherSuite?: number;
}

const schema = v.strictObject({
  ...shellFields,
  host: hostField,
  username: text,
  password: secret,
  cipherSuite: optional(whole(1, 17)),
});

/** The password comes on standard input and goes into ipmitool's environment: arguments are seen by all. */
const script = 'IPMI_PASSWORD=$(cat); export IPMI_PASSWORD; exec ipmitool "$@" </dev/null';

/**
 * A server by its BMC, over IPMI 2.0, with ipmitool on some machine near it. Its one outlet is `chassis`.
 * Off is a hard one: what runs is not asked. @throws `invalid-input`.
 */
export function ipmi(options: IpmiOptions): PduDriver {
  checked('the ipmi options', schema, options);
  const runner = new CommandRunner(options);
  const { host, port } = hostAndPort(options.host, 623);
  const ipmitool = async (words: readonly string[], call: DriverCall): Promise<string> => {
    const session = ['-I', 'lanplus', '-H', host, '-p', String(port), '-U', options.username, '-E'];
    // With the usual four tries, a BMC that is away would take longer than anybody waits.
    const patience = ['-R', '2', '-N', '1'];
    const suite = options.cipherSuite === undefined ? [] : ['-C', String(options.cipherSuite)];
    const answer = await runner.run(
      // -v: only so it says why it gets no session.
      ['sh', '-c', script, 'ipmitool', '-v', ...session, ...patience, ...suite, 'chassis', 'power', ...words],
      call,
      { stdin: options.password, program: 'ipmitool' },
    );
    if (answer.exitCode !== 0) throw trouble(answer);
    return answer.stdout;
  };
  return {
    kind: 'ipmi',
    address: `${options.host} from ${runner.address}`,
    method: 'network_pdu',
    checkOutlet: namedOutlets(/chassis/, 'chassis'),
    settleMs: 6_000,
    switch: async (_, wanted, call): Promise<void> => void (await ipmitool([wanted], call)),
    async read(_, call): Promise<PowerState> {
      const state = /Chassis Power is (on|off)/.exec(await ipmitool(['status'], call))?.[1];
      return state === 'on' || state === 'off' ? state : 'unknown';
    },
  };
}

function trouble({ stdout, stderr }: CommandAnswer): Error {
  const said = excerpt(`${stdout}\n${stderr}`.replaceAll(chatter, ''));
  if (/RAKP|unauthorized|invalid user ?name/i.test(said)) {
    return refused(`the BMC refuses user or password: ${said}`);
  }
  if (/privilege/i.test(said)) return refused(`the user may not switch: ${said}`);
  if (/Unable to establish/i.test(said)) {
    return unreachable(`no session with the BMC: ${said}; is it on, and IPMI over LAN enabled?`, { sent: false });
  }
  return failed(`ipmitool failed: ${said}`, { retryable: true });
}

/** What `-v` says beside what is of interest. */
const chatter = /^(?:Loading|Running|Discovered|Get HPM|Get VSO|Invalid completion code).*$/gm;
