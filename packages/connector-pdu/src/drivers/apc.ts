import * as v from 'valibot';
import { numberedOutlets, type PduDriver } from '../driver.ts';
import { checked, optional } from '../options.ts';
import { snmpFields, type SnmpAccess } from '../snmp/client.ts';
import { snmpDriver, type SnmpProfile } from '../snmp/outlets.ts';

/** Options of {@link apc}. */
export interface ApcOptions extends SnmpAccess {
  /**
   * Which of the MIB's trees the unit has: `rpdu` (AP79xx, and the newer ones too), `rpdu2` (AP8xxx and
   * APDU9xxx), `masterswitch` (AP92xx and older). Default `rpdu`.
   */
  readonly family?: 'rpdu' | 'rpdu2' | 'masterswitch';
}

/** PowerNet-MIB. In all trees, 1 as a command is `immediateOn` and 2 `immediateOff`. */
const base = '1.3.6.1.4.1.318.1.1';
const trees = {
  // rPDUOutletControlOutletCommand; rPDUOutletStatusOutletState
  rpdu: { control: `${base}.12.3.3.1.1.4`, status: `${base}.12.3.5.1.1.4`, states: { on: [1], off: [2] } },
  // rPDU2OutletSwitchedControlCommand; rPDU2OutletSwitchedStatusState, which counts the other way round
  rpdu2: { control: `${base}.26.9.2.4.1.5`, status: `${base}.26.9.2.3.1.5`, states: { on: [2], off: [1] } },
  // sPDUOutletCtl is both
  masterswitch: { control: `${base}.4.4.2.1.3`, status: `${base}.4.4.2.1.3`, states: { on: [1], off: [2] } },
} as const;

const schema = v.strictObject({
  ...snmpFields,
  family: optional(v.picklist(['rpdu', 'rpdu2', 'masterswitch'], 'must be rpdu, rpdu2 or masterswitch')),
});

/** APC (Schneider Electric) switched rack PDUs, over SNMP. Outlets are numbers. @throws `invalid-input`. */
export function apc(options: ApcOptions): PduDriver {
  checked('the apc options', schema, options);
  const { control, status, states } = trees[options.family ?? 'rpdu'];
  const profile: SnmpProfile = {
    kind: 'apc',
    checkOutlet: numberedOutlets({ max: 48 }),
    control: (outlet, wanted) => ({ oid: `${control}.${outlet}`, value: wanted === 'on' ? 1 : 2 }),
    status: (outlet) => `${status}.${outlet}`,
    states,
  };
  return snmpDriver(profile, options);
}
