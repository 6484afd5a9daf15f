import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { numberedOutlets, type PduDriver } from '../driver.ts';
import { noSuchOutlet } from '../errors.ts';
import { shaped } from '../http/answer.ts';
import { httpClient, httpFields, type HttpAccess } from '../http/client.ts';
import { checked } from '../options.ts';

/** Options of {@link netio}. The usual account is `netio`. */
export type NetioOptions = HttpAccess;

/** NETIO's JSON API over HTTP; "JSON API" must be enabled on the device, with read and write. */
const path = '/netio.json';
const schema = v.strictObject(httpFields);
const answer = v.object({ Outputs: v.array(v.object({ ID: v.number(), State: v.picklist([0, 1]) })) });

/** NETIO PowerBOX, PowerCable, PowerPDU and PowerDIN. Outlets are numbers. @throws `invalid-input`. */
export function netio(options: NetioOptions): PduDriver {
  checked('the netio options', schema, options);
  const http = httpClient({ username: 'netio', ...options });
  return {
    kind: 'netio',
    address: http.address,
    method: 'network_pdu',
    checkOutlet: numberedOutlets({ max: 16 }),
    async switch(outlet, wanted, call): Promise<void> {
      const Action = wanted === 'on' ? 1 : 0;
      await http.json({ method: 'POST', path, json: { Outputs: [{ ID: Number(outlet), Action }] } }, call);
    },
    async read(outlet, call): Promise<PowerState> {
      const { Outputs } = shaped(answer, await http.json({ path }, call));
      const output = Outputs.find(({ ID }) => ID === Number(outlet));
      if (output === undefined) throw noSuchOutlet(`it has ${Outputs.length} outlets, and no such one`);
      return output.State === 1 ? 'on' : 'off';
    },
  };
}
