import { httpClient, numberedOutlets, type PduDriver } from '@bringup/connector-pdu';
import type { PowerState, Secret } from '@bringup/core';

/** A strip of six sockets: `GET /sockets/N` answers `{"on": true}`, and `PUT /sockets/N` takes the same. */
export function powerStrip(options: { readonly host: string; readonly password?: Secret }): PduDriver {
  const http = httpClient({ username: 'admin', ...options });
  return {
    kind: 'power strip',
    address: http.address,
    method: 'network_pdu',
    checkOutlet: numberedOutlets({ max: 6 }),

    async switch(socket, wanted, call): Promise<void> {
      await http.json({ method: 'PUT', path: `/sockets/${socket}`, json: { on: wanted === 'on' } }, call);
    },

    async read(socket, call): Promise<PowerState> {
      const answer = await http.json({ path: `/sockets/${socket}` }, call);
      const on = (answer as { readonly on?: unknown } | null)?.on;
      return on === true ? 'on' : on === false ? 'off' : 'unknown';
    },
  };
}
