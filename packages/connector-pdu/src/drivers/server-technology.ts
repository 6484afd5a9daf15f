import * as v from 'valibot';
import { namedOutlets, type PduDriver } from '../driver.ts';
import { checked } from '../options.ts';
import { snmpFields, type SnmpAccess } from '../snmp/client.ts';
import { snmpDriver } from '../snmp/outlets.ts';

/** Options of {@link serverTechnology}. */
export type ServerTechnologyOptions = SnmpAccess;

/** Sentry3-MIB: outletEntry, indexed by tower, infeed and outlet. */
const entry = '1.3.6.1.4.1.1718.3.2.3.1';
const schema = v.strictObject(snmpFields);

/**
 * Server Technology Sentry3, over SNMP. Outlets are `TOWER.INFEED.OUTLET`, such as `1.2.5`; a plain number
 * is one of the first tower's first infeed. @throws `invalid-input`.
 */
export function serverTechnology(options: ServerTechnologyOptions): PduDriver {
  checked('the server technology options', schema, options);
  const index = (outlet: string): string => (outlet.includes('.') ? outlet : `1.1.${outlet}`);
  return snmpDriver(
    {
      kind: 'server technology',
      checkOutlet: namedOutlets(/[1-9]\d?(?:\.[1-9]\d?\.[1-9]\d?)?/, '1.1.4 or 4'),
      // outletControlAction: on(1), off(2)
      control: (outlet, wanted) => ({ oid: `${entry}.11.${index(outlet)}`, value: wanted === 'on' ? 1 : 2 }),
      // outletControlState: idleOff(0), idleOn(1), wakeOff(2), wakeOn(3), off(4), on(5), lockedOff(6),
      // lockedOn(7), … pendOn(10), pendOff(11), minimumOff(12), minimumOn(13)
      status: (outlet) => `${entry}.10.${index(outlet)}`,
      states: { on: [1, 3, 5, 7], off: [0, 2, 4, 6] },
    },
    options,
  );
}
