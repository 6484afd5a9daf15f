import * as v from 'valibot';
import { numberedOutlets, type PduDriver } from '../driver.ts';
import { checked, optional, whole } from '../options.ts';
import { snmpFields, type SnmpAccess } from '../snmp/client.ts';
import { snmpDriver } from '../snmp/outlets.ts';

/** Options of {@link eaton}. */
export interface EatonOptions extends SnmpAccess {
  /** Strapping index of the unit, where several are daisy-chained. Default 0. */
  readonly unit?: number;
}

/** EATON-EPDU-MIB: outletControlEntry. */
const entry = '1.3.6.1.4.1.534.6.6.7.6.6.1';
const schema = v.strictObject({ ...snmpFields, unit: optional(whole(0, 23)) });

/** Eaton ePDU G3, over SNMP. Outlets are numbers. @throws `invalid-input`. */
export function eaton(options: EatonOptions): PduDriver {
  const { unit = 0 } = checked('the eaton options', schema, options);
  return snmpDriver(
    {
      kind: 'eaton',
      checkOutlet: numberedOutlets({ max: 48 }),
      // outletControlOnCmd and outletControlOffCmd take the delay: 0 is at once, -1 takes the last one back.
      control: (outlet, wanted) => ({ oid: `${entry}.${wanted === 'on' ? 4 : 3}.${unit}.${outlet}`, value: 0 }),
      // outletControlStatus: off(0), on(1), pendingOff(2), pendingOn(3). Pending is not there yet.
      status: (outlet) => `${entry}.2.${unit}.${outlet}`,
      states: { on: [1], off: [0] },
    },
    options,
  );
}
