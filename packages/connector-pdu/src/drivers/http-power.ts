import { Secret, type PowerState } from '@bringup/core';
import * as v from 'valibot';
import { namedOutlets, type PduDriver } from '../driver.ts';
import { httpClient, httpFields, type DeviceRequest, type HttpAccess } from '../http/client.ts';
import { checked, methodField, optional, text } from '../options.ts';
import { stateByPattern, statePatterns, type StatePatterns } from '../state-patterns.ts';

/** One request of {@link HttpPowerOptions}. */
export interface HttpPowerRequest {
  /** Default `GET`. */
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH';
  /** Path and query; `{outlet}` stands for the outlet, encoded. The query is part of no error. */
  readonly path: string;
  /** Body; `{outlet}` stands for the outlet as it is. */
  readonly body?: string;
}

/** Options of {@link httpPower}. */
export interface HttpPowerOptions extends HttpAccess {
  readonly on: HttpPowerRequest;
  readonly off: HttpPowerRequest;
  /** How the state is asked for, and what its answer says. Left out: nothing is read back. */
  readonly state?: HttpPowerRequest & StatePatterns;
  /** Sent with each request, such as a token: `{ authorization: new Secret('Bearer …') }`. */
  readonly headers?: Readonly<Record<string, string | Secret>>;
  /** Default `network_pdu`. */
  readonly method?: PduDriver['method'];
}

const requestFields = {
  method: optional(v.picklist(['GET', 'POST', 'PUT', 'PATCH'], 'must be GET, POST, PUT or PATCH')),
  path: v.pipe(text, v.startsWith('/', 'must begin with /')),
  body: optional(v.string('must be a string')),
};
const schema = v.strictObject({
  ...httpFields,
  on: v.strictObject(requestFields),
  off: v.strictObject(requestFields),
  state: v.exactOptional(v.strictObject({ ...requestFields, ...statePatterns })),
  headers: v.exactOptional(v.record(text, v.union([v.string(), v.instance(Secret)], 'must be a string or a Secret'))),
  method: optional(methodField),
});

/** Any device that is switched by HTTP requests. @throws `invalid-input`. */
export function httpPower(options: HttpPowerOptions): PduDriver {
  checked('the httpPower options', schema, options);
  const { on, off, state, headers = {}, method = 'network_pdu', ...access } = options;
  const http = httpClient(access);
  const filled = (request: HttpPowerRequest, outlet: string): DeviceRequest => ({
    method: request.method ?? 'GET',
    path: request.path.replaceAll('{outlet}', encodeURIComponent(outlet)),
    ...(request.body !== undefined && { body: request.body.replaceAll('{outlet}', () => outlet) }),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : value.reveal()]),
    ),
  });
  return {
    kind: 'http',
    address: http.address,
    method,
    tellsState: state !== undefined,
    checkOutlet: namedOutlets(/[\w.:@-]{1,128}/, 'socket-4: letters, digits and . : @ _ -'),
    async switch(outlet, wanted, call): Promise<void> {
      await http.text(filled(wanted === 'on' ? on : off, outlet), call);
    },
    async read(outlet, call): Promise<PowerState> {
      if (state !== undefined) return stateByPattern(await http.text(filled(state, outlet), call), state);
      // Whatever it says to that, it is there.
      await http.send({ path: '/' }, call);
      return 'unknown';
    },
  };
}
