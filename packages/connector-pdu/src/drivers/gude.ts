import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { numberedOutlets, type PduDriver } from '../driver.ts';
import { noSuchOutlet } from '../errors.ts';
import { shaped } from '../http/answer.ts';
import { httpClient, httpFields, type HttpAccess } from '../http/client.ts';
import { checked } from '../options.ts';

/** Options of {@link gude}. The usual account is `admin`. */
export type GudeOptions = HttpAccess;

const schema = v.strictObject(httpFields);
const answer = v.object({ outputs: v.array(v.object({ state: v.picklist([0, 1]) })) });

/** Gude Expert Power Control with a JSON status. Outlets are numbers. @throws `invalid-input`. */
export function gude(options: GudeOptions): PduDriver {
  checked('the gude options', schema, options);
  const http = httpClient({ username: 'admin', ...options });
  return {
    kind: 'gude',
    address: http.address,
    method: 'network_pdu',
    checkOutlet: numberedOutlets({ max: 48 }),
    async switch(outlet, wanted, call): Promise<void> {
      // cmd 1 switches port p to s.
      const query = { cmd: '1', p: outlet, s: wanted === 'on' ? '1' : '0' };
      await http.text({ path: '/ov.html', query }, call);
    },
    async read(outlet, call): Promise<PowerState> {
      // Component 1: the outputs.
      const status = await http.json({ path: '/status.json', query: { components: '1' } }, call);
      const { outputs } = shaped(answer, status);
      const output = outputs[Number(outlet) - 1];
      if (output === undefined) throw noSuchOutlet(`it has ${outputs.length} outlets, and no such one`);
      return output.state === 1 ? 'on' : 'off';
    },
  };
}
