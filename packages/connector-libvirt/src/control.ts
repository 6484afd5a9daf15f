import { BringupError, limits, onAbort, untilQuiet } from '@bringup/core';
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

/**
 * Takes a picture of a domain's display over a connection of its own.
 * @throws `unsupported` without a display; `hypervisor-failed`, worth another try, when the picture did not arrive whole.
 */
export async function domainScreenshot(
  openLine: (options: CallOptions) => Promise<Daemon>,
  domain: DomainRef,
  options: CallOptions,
): Promise<Screenshot> {
  await using line = await openLine(options);
  using _abort = onAbort(options.signal, () => void line[Symbol.asyncDispose]());
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
  const taken: Screenshot = { mimeType, image: Buffer.concat(pieces) };
  // libvirt tells nobody how large it is.
  if (isWhole(taken)) return taken;
  throw new BringupError('hypervisor-failed', `The screenshot of ${domain.name} did not arrive whole.`, {
    retryable: true,
  });
}

const pngSignature = Buffer.from('89504e470d0a1a0a', 'hex');
/** An IEND chunk: no bytes, its name, its checksum. PNG, third edition, §11.2.5. */
const pngEnd = Buffer.from('0000000049454e44ae426082', 'hex');

/** Whether an image has its beginning and its end, as far as its format tells. */
function isWhole({ mimeType, image }: Screenshot): boolean {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  switch (mimeType) {
    case 'image/png':
      return (
        bytes.subarray(0, pngSignature.length).equals(pngSignature) && bytes.subarray(-pngEnd.length).equals(pngEnd)
      );
    case 'image/x-portable-pixmap': {
      // As QEMU writes it: no comments, one byte a sample.
      const header = /^P6\n(\d+) (\d+)\n255\n/.exec(bytes.subarray(0, 64).toString('latin1'));
      return header !== null && bytes.length === header[0].length + Number(header[1]) * Number(header[2]) * 3;
    }
    default:
      return bytes.length > 0;
  }
}

function unsupported(message: string, cause: BringupError): BringupError {
  return new BringupError('unsupported', message, { cause, details: cause.details });
}
