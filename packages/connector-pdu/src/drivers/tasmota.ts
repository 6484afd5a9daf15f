import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { numberedOutlets, type DriverCall, type PduDriver } from '../driver.ts';
import { failed, noSuchOutlet, refused } from '../errors.ts';
import { parsed, shaped } from '../http/answer.ts';
import { httpClient, httpFields, type HttpAccess } from '../http/client.ts';
import { checked } from '../options.ts';

/** Options of {@link tasmota}. The account is `admin`. */
export type TasmotaOptions = HttpAccess;

const schema = v.strictObject(httpFields);
const words = v.record(v.string(), v.unknown());

/** Plugs and relays with Tasmota's firmware. Outlets are the relays' numbers. @throws `invalid-input`. */
export function tasmota(options: TasmotaOptions): PduDriver {
  checked('the tasmota options', schema, options);
  const { username = 'admin', password, ...access } = options;
  const http = httpClient(access);
  const command = async (outlet: string, argument: string, call: DriverCall): Promise<PowerState> => {
    const query = {
      // Its web server wants the password in the address, and nowhere else.
      ...(password !== undefined && { user: username, password: password.reveal() }),
      cmnd: `Power${outlet}${argument}`,
    };
    const sent = await http.send({ path: '/cm', query }, call);
    if (sent.status !== 200) throw failed(`it answers with ${sent.status}`, { retryable: sent.status >= 500 });
    return stateIn(shaped(words, parsed(sent.text, '/cm')), outlet);
  };
  return {
    kind: 'tasmota',
    address: http.address,
    method: 'network_pdu',
    checkOutlet: numberedOutlets({ max: 32 }),
    switch: async (outlet, wanted, call): Promise<void> => void (await command(outlet, ` ${wanted}`, call)),
    read: (outlet, call) => command(outlet, '', call),
  };
}

function stateIn(answer: Readonly<Record<string, unknown>>, outlet: string): PowerState {
  // Older firmware says so with status 200.
  if ('WARNING' in answer) throw refused('it wants a password, or refuses this one');
  // A device with one relay leaves its number out.
  const state = answer[`POWER${outlet}`] ?? (outlet === '1' ? answer['POWER'] : undefined);
  if (state === 'ON') return 'on';
  if (state === 'OFF') return 'off';
  throw noSuchOutlet('it has no such relay');
}
