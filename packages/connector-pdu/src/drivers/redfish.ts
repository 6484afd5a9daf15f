import { BringupError, type PowerState } from '@bringup/core';
import * as v from 'valibot';
import { type DriverCall, namedOutlets, type PduDriver } from '../driver.ts';
import { failed, noSuchOutlet } from '../errors.ts';
import { parsed, shaped } from '../http/answer.ts';
import { httpClient, httpFields, type HttpAccess } from '../http/client.ts';
import { checked } from '../options.ts';

/**
 * Options of {@link redfish}. `https` is true by default. A BMC that vouches for itself needs its `fingerprint`;
 * the error of the first call has it.
 */
export type RedfishOptions = HttpAccess;

const schema = v.strictObject(httpFields);
const system = v.object({
  PowerState: v.exactOptional(v.nullable(v.string())),
  Actions: v.exactOptional(
    v.object({
      '#ComputerSystem.Reset': v.exactOptional(
        v.object({
          target: v.pipe(v.string(), v.startsWith('/')),
          'ResetType@Redfish.AllowableValues': v.exactOptional(v.array(v.string())),
        }),
      ),
    }),
  ),
});

/** DSP2046, `ResetType`: the first one that the BMC offers. */
const resetTypes = { on: ['On', 'ForceOn'], off: ['ForceOff'] } as const;

/**
 * Servers by their BMC's Redfish service. Outlets are the ids of its systems, such as `1` or
 * `System.Embedded.1`. Off is a hard one: what runs is not asked. @throws `invalid-input`.
 */
export function redfish(options: RedfishOptions): PduDriver {
  checked('the redfish options', schema, options);
  const http = httpClient({ https: true, ...options });
  const get = async (id: string, call: DriverCall): Promise<v.InferOutput<typeof system>> => {
    const path = `/redfish/v1/Systems/${encodeURIComponent(id)}`;
    const { status, text } = await http.send({ path, headers: { accept: 'application/json' } }, call);
    if (status === 404) throw noSuchOutlet('it has no such system');
    if (status !== 200) throw failed(`it answers ${path} with ${status}`, { retryable: status >= 500 });
    return shaped(system, parsed(text, path));
  };
  return {
    kind: 'redfish',
    address: http.address,
    method: 'network_pdu',
    checkOutlet: namedOutlets(/[\w.-]{1,128}/, '1 or System.Embedded.1'),
    // A BMC takes its time, and says PoweringOn or PoweringOff meanwhile.
    settleMs: 7_000,
    async switch(id, wanted, call): Promise<void> {
      const { Actions, PowerState: state } = await get(id, call);
      // Some answer 409 to what is so already.
      if (stateOf(state) === wanted) return;
      const reset = Actions?.['#ComputerSystem.Reset'];
      if (reset === undefined) throw unsupported('it offers no reset of this system');
      const allowed = reset['ResetType@Redfish.AllowableValues'];
      const ResetType = resetTypes[wanted].find((type) => allowed?.includes(type) ?? true);
      if (ResetType === undefined)
        throw unsupported(`it can't switch ${wanted}; it offers ${http.quote(allowed?.join(', ') ?? '')}`);
      await http.text({ method: 'POST', path: reset.target, json: { ResetType } }, call);
    },
    read: async (id, call): Promise<PowerState> => stateOf((await get(id, call)).PowerState),
  };
}

function stateOf(state: string | null | undefined): PowerState {
  return state === 'On' ? 'on' : state === 'Off' ? 'off' : 'unknown';
}

function unsupported(message: string): BringupError {
  return new BringupError('unsupported', message);
}
