import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { numberedOutlets, type PduDriver } from '../driver.ts';
import { shaped } from '../http/answer.ts';
import { httpClient, httpFields, type HttpAccess } from '../http/client.ts';
import { checked } from '../options.ts';

/** Options of {@link shellyGen1}. The usual account is `admin`. */
export type ShellyGen1Options = HttpAccess;

const schema = v.strictObject(httpFields);
const answer = v.object({ ison: v.boolean() });

/** Shelly relays and plugs of the first generation. Outlets are numbers from 0 on. @throws `invalid-input`. */
export function shellyGen1(options: ShellyGen1Options): PduDriver {
  checked('the shellyGen1 options', schema, options);
  const http = httpClient({ username: 'admin', ...options });
  return {
    kind: 'shelly gen1',
    address: http.address,
    method: 'network_pdu',
    checkOutlet: numberedOutlets({ min: 0, max: 7 }),
    async switch(outlet, wanted, call): Promise<void> {
      await http.json({ path: `/relay/${outlet}`, query: { turn: wanted } }, call);
    },
    async read(outlet, call): Promise<PowerState> {
      return shaped(answer, await http.json({ path: `/relay/${outlet}` }, call)).ison ? 'on' : 'off';
    },
  };
}
