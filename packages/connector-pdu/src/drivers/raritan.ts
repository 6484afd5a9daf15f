import * as v from 'valibot';
import { numberedOutlets, type PduDriver } from '../driver.ts';
import { checked, optional, whole } from '../options.ts';
import { snmpFields, type SnmpAccess } from '../snmp/client.ts';
import { snmpDriver } from '../snmp/outlets.ts';

/** Options of {@link raritan}. */
export interface RaritanOptions extends SnmpAccess {
  /** Number of the unit, where several are linked. Default 1. */
  readonly unit?: number;
}

/** PDU2-MIB: outletSwitchControlEntry. */
const entry = '1.3.6.1.4.1.13742.6.4.1.2.1';
const schema = v.strictObject({ ...snmpFields, unit: optional(whole(1, 255)) });

/** Raritan PX2, PX3 and PX4, over SNMP. Outlets are numbers. @throws `invalid-input`. */
export function raritan(options: RaritanOptions): PduDriver {
  const { unit = 1 } = checked('the raritan options', schema, options);
  return snmpDriver(
    {
      kind: 'raritan',
      checkOutlet: numberedOutlets({ max: 54 }),
      // switchingOperation: off(0), on(1)
      control: (outlet, wanted) => ({ oid: `${entry}.2.${unit}.${outlet}`, value: wanted === 'on' ? 1 : 0 }),
      // outletSwitchingState: on(7), off(8); others, such as cycling, pass
      status: (outlet) => `${entry}.3.${unit}.${outlet}`,
      states: { on: [7], off: [8] },
    },
    options,
  );
}
