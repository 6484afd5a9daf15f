import * as v from 'valibot';
import { numberedOutlets, type PduDriver } from '../driver.ts';
import { checked } from '../options.ts';
import { snmpFields, type SnmpAccess } from '../snmp/client.ts';
import { snmpDriver } from '../snmp/outlets.ts';

/** Options of {@link cyberPower}. */
export type CyberPowerOptions = SnmpAccess;

/** CPS-MIB: ePDUOutlet. */
const base = '1.3.6.1.4.1.3808.1.1.3.3';
const schema = v.strictObject(snmpFields);

/** CyberPower switched ePDUs, over SNMP. Outlets are numbers. @throws `invalid-input`. */
export function cyberPower(options: CyberPowerOptions): PduDriver {
  checked('the cyberPower options', schema, options);
  return snmpDriver(
    {
      kind: 'cyberpower',
      checkOutlet: numberedOutlets({ max: 48 }),
      // ePDUOutletControlOutletCommand: immediateOn(1), immediateOff(2)
      control: (outlet, wanted) => ({ oid: `${base}.3.1.1.4.${outlet}`, value: wanted === 'on' ? 1 : 2 }),
      // ePDUOutletStatusOutletState: outletStatusOn(1), outletStatusOff(2)
      status: (outlet) => `${base}.5.1.1.4.${outlet}`,
      states: { on: [1], off: [2] },
    },
    options,
  );
}
