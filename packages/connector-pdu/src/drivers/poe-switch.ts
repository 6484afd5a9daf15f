import * as v from 'valibot';
import { namedOutlets, type PduDriver } from '../driver.ts';
import { checked } from '../options.ts';
import { snmpFields, type SnmpAccess } from '../snmp/client.ts';
import { snmpDriver } from '../snmp/outlets.ts';

/** Options of {@link poeSwitch}. */
export type PoeSwitchOptions = SnmpAccess;

/** POWER-ETHERNET-MIB (RFC 3621): pethPsePortAdminEnable, indexed by group and port. */
const adminEnable = '1.3.6.1.2.1.105.1.1.1.3';
const schema = v.strictObject(snmpFields);

/**
 * Power over Ethernet of any switch with the standard's MIB, over SNMP. Outlets are ports, or
 * `GROUP.PORT`; the group, 1 when left out, is the slot or the member of a stack. Reads back whether
 * the port may give power; whether the board takes it is the board's affair. @throws `invalid-input`.
 */
export function poeSwitch(options: PoeSwitchOptions): PduDriver {
  checked('the poeSwitch options', schema, options);
  const oid = (outlet: string): string => `${adminEnable}.${outlet.includes('.') ? outlet : `1.${outlet}`}`;
  return snmpDriver(
    {
      kind: 'poe switch',
      checkOutlet: namedOutlets(/(?:[1-9]\d{0,3}\.)?[1-9]\d{0,4}/, '7 or 1.7'),
      // TruthValue: true(1), false(2)
      control: (outlet, wanted) => ({ oid: oid(outlet), value: wanted === 'on' ? 1 : 2 }),
      status: oid,
      states: { on: [1], off: [2] },
    },
    options,
  );
}
