import { BringupError, limits, untilQuiet } from '@bringup/core';
import type { CallOptions, Clock, Screenshot } from '@bringup/core';
import type { Daemon } from './daemon.ts';
import type { DomainRef } from './domain.ts';
import type { VmEvents } from './events.ts';
import { isRemoteError, virError } from './rpc/remote-error.ts';

/**
 * Resets a domain's machine. Any reset is its end (`on_reboot`), so for a moment it is told otherwise,
 * and in any case told back; therefore no signal.
 */
export async function resetDomain(daemon: Daemon, events: VmEvents, clock: Clock, domain: DomainRef): Promise<void> {
  await daemon.onReboot(domain, 'reset', {});
  try {
    const quiet = untilQuiet(clock, limits.vmResetSettleMs);
    using _reboots = events.onReboot(domain.name, quiet.disturb);
    await daemon.reset(domain, {});
    await quiet.settled;
  } finally {
    await daemon.onReboot(domain, 'end', {}).catch((error: unknown) => {
      // One that has ended meanwhile can't reset any more.
      if (!isRemoteError(error, virError.operationInvalid, virError.noDomain)) throw error;
    });
  }
}

/** Sends an NMI. @throws `unsupported` when the machine has none. */
export async function injectDomainNmi(daemon: Daemon, domain: DomainRef, options: CallOptions): Promise<void> {
  try {
    await daemon.injectNmi(domain, options);
  } catch (error) {
    if (!(error instanceof BringupError) || !/nmi/i.test(String(error.details['libvirtMessage'] ?? ''))) throw error;
    throw unsupported(`The machine of ${domain.name} has no NMI.`, error);
  }
}

/** Takes a picture of a domain's display over a connection of its own. @throws `unsupported` without one. */
export async function domainScreenshot(line: Daemon, domain: DomainRef, options: CallOptions): Promise<Screenshot> {
  let opened;
  try {
    opened = await line.openScreenshot(domain, options);
  } catch (error) {
    if (!isRemoteError(error, virError.operationInvalid) || !/screen/.test(error.message)) throw error;
    throw unsupported(`${domain.name} has no display to take a screenshot of: create it with \`display\`.`, error);
  }
  const { stream, mimeType } = opened;
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of stream.read()) {
    bytes += piece.length;
    if (bytes > limits.screenshotMaxBytes) {
      throw new BringupError('hypervisor-failed', `The display of ${domain.name} is too large for a screenshot.`);
    }
    pieces.push(piece);
  }
  await stream.finish();
  return { mimeType, image: Buffer.concat(pieces) };
}

function unsupported(message: string, cause: BringupError): BringupError {
  return new BringupError('unsupported', message, { cause, details: cause.details });
}
