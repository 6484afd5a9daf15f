import { BringupError } from '@bringup/core';

/** The peer sent something that libvirt's protocol does not allow. */
export function protocolError(what: string): BringupError {
  return new BringupError('hypervisor-failed', `The peer does not speak libvirt's protocol: ${what}.`, {
    details: { reason: 'protocol' },
  });
}
