import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { namedOutlets, type PduDriver } from '../driver.ts';
import { failed } from '../errors.ts';
import { httpClient, httpFields, type HttpAccess } from '../http/client.ts';
import { authority, checked, hostAndPort, text } from '../options.ts';

/** Options of {@link pdudaemon}. */
export interface PdudaemonOptions extends HttpAccess {
  /** Where pdudaemon's HTTP listener is, with its port, which is 16421 by default. */
  readonly host: string;
  /** The PDU's name in pdudaemon's configuration. */
  readonly hostname: string;
}

const schema = v.strictObject({ ...httpFields, hostname: text });

/**
 * A PDU that pdudaemon switches. pdudaemon has no way to ask for a state, and answers before it knows what
 * became of a command: nothing is read back. Outlets are what pdudaemon calls ports. @throws `invalid-input`.
 */
export function pdudaemon(options: PdudaemonOptions): PduDriver {
  const { hostname } = checked('the pdudaemon options', schema, options);
  const host = authority(hostAndPort(options.host, 16_421));
  const http = httpClient({ ...options, host });
  return {
    kind: 'pdudaemon',
    address: `${http.address}, ${hostname}`,
    method: 'network_pdu',
    tellsState: false,
    checkOutlet: namedOutlets(/\d{1,5}/, '4'),
    async switch(port, wanted, call): Promise<void> {
      const request = { path: `/power/control/${wanted}`, query: { hostname, port } };
      const { status } = await http.send(request, call);
      if (status === 200) return;
      throw failed(`it refuses (${status}); does its configuration have a PDU '${hostname}' with this port?`);
    },
    async read(_, call): Promise<PowerState> {
      // Not found, but answered.
      await http.send({ path: '/' }, call);
      return 'unknown';
    },
  };
}
