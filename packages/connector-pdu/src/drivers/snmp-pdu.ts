import * as v from 'valibot';
import { namedOutlets, type PduDriver } from '../driver.ts';
import { checked, whole } from '../options.ts';
import { snmpFields, type SnmpAccess } from '../snmp/client.ts';
import { snmpDriver } from '../snmp/outlets.ts';

/** Options of {@link snmpPdu}. */
export interface SnmpPduOptions extends SnmpAccess {
  /** What is set: an object identifier in which `{outlet}` stands for the outlet. */
  readonly control: { readonly oid: string; readonly on: number; readonly off: number };
  /** What tells the state, and the values that mean on and off. */
  readonly status: { readonly oid: string; readonly on: number; readonly off: number };
}

const integer = whole(-2_147_483_648, 2_147_483_647);
const object = v.strictObject({
  oid: v.pipe(
    v.string('must be a string'),
    v.regex(
      /^\d+(?:\.\d+)*\.\{outlet\}(?:\.\d+)*$/,
      'must be numbers with dots between, {outlet} in the outlet’s place',
    ),
  ),
  on: integer,
  off: integer,
});
const schema = v.strictObject({ ...snmpFields, control: object, status: object });

/**
 * Any PDU that is switched by setting one integer over SNMP. Outlets are numbers, with dots between where
 * the table has several indices. @throws `invalid-input`.
 */
export function snmpPdu(options: SnmpPduOptions): PduDriver {
  const { control, status } = checked('the snmpPdu options', schema, options);
  return snmpDriver(
    {
      kind: 'snmp',
      checkOutlet: namedOutlets(/\d{1,9}(?:\.\d{1,9}){0,7}/, '4 or 1.4'),
      control: (outlet, wanted) => ({ oid: control.oid.replace('{outlet}', outlet), value: control[wanted] }),
      status: (outlet) => status.oid.replace('{outlet}', outlet),
      states: { on: [status.on], off: [status.off] },
    },
    options,
  );
}
