import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { numberedOutlets, type DriverCall, type PduDriver } from '../driver.ts';
import { failed, noSuchOutlet } from '../errors.ts';
import { shaped } from '../http/answer.ts';
import { httpClient, httpFields, type HttpAccess } from '../http/client.ts';
import { checked } from '../options.ts';

/** Options of {@link shellyGen2}. The account is always `admin`. */
export type ShellyGen2Options = Omit<HttpAccess, 'username'>;

const { username: _, ...fields } = httpFields;
const schema = v.strictObject(fields);
const frame = v.union([
  v.object({ error: v.object({ code: v.number(), message: v.string() }) }),
  v.object({ result: v.record(v.string(), v.unknown()) }),
]);
const status = v.object({ output: v.boolean() });

/** What Shelly's RPC says about a component that is not there: not found. */
const notFound = -105;

/** Shelly of the second generation and later (Plus, Pro, Gen3, Gen4). Outlets are numbers from 0 on. @throws `invalid-input`. */
export function shellyGen2(options: ShellyGen2Options): PduDriver {
  checked('the shellyGen2 options', schema, options);
  const http = httpClient({ ...options, username: 'admin' });
  const rpc = async (method: string, params: object, call: DriverCall): Promise<unknown> => {
    const request = { id: 1, src: 'bringup', method, params };
    const answer = shaped(frame, await http.json({ method: 'POST', path: '/rpc', json: request }, call));
    if (!('error' in answer)) return answer.result;
    const { code, message } = answer.error;
    if (code === notFound) throw noSuchOutlet('it has no such switch');
    throw failed(`it answers ${method} with error ${code}: ${http.quote(message)}`, { details: { rpcCode: code } });
  };
  return {
    kind: 'shelly gen2',
    address: http.address,
    method: 'network_pdu',
    checkOutlet: numberedOutlets({ min: 0, max: 15 }),
    async switch(outlet, wanted, call): Promise<void> {
      await rpc('Switch.Set', { id: Number(outlet), on: wanted === 'on' }, call);
    },
    async read(outlet, call): Promise<PowerState> {
      const answer = await rpc('Switch.GetStatus', { id: Number(outlet) }, call);
      return shaped(status, answer).output ? 'on' : 'off';
    },
  };
}
