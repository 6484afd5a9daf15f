import type { PowerState } from '@bringup/core';
import type { OutletCheck, PduDriver } from '../driver.ts';
import { SnmpClient, type SnmpAccess } from './client.ts';

/** How one family of PDUs is switched over SNMP, by its MIB. */
export interface SnmpProfile {
  readonly kind: string;
  readonly checkOutlet: OutletCheck;
  /** What is set to what. */
  readonly control: (outlet: string, wanted: 'on' | 'off') => { readonly oid: string; readonly value: number };
  /** The object that tells an outlet's state. */
  readonly status: (outlet: string) => string;
  /** The values that mean on, and off; others are in between, or trouble. */
  readonly states: { readonly on: readonly number[]; readonly off: readonly number[] };
}

/** A PDU of such a family. */
export function snmpDriver(profile: SnmpProfile, access: SnmpAccess): PduDriver {
  const { kind, checkOutlet, control, status, states } = profile;
  const client = new SnmpClient(access);
  return {
    kind,
    address: client.address,
    method: 'network_pdu',
    checkOutlet,
    async switch(outlet, wanted, call): Promise<void> {
      const { oid, value } = control(outlet, wanted);
      await client.set(oid, value, call);
    },
    async read(outlet, call): Promise<PowerState> {
      const value = await client.get(status(outlet), call);
      return states.on.includes(value) ? 'on' : states.off.includes(value) ? 'off' : 'unknown';
    },
  };
}
