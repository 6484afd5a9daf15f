import { open } from 'node:fs/promises';
import type { VmDisk } from '../contracts/hypervisor.ts';
import { BringupError } from '../errors.ts';

/** Bytes of an image's start that {@link diskBytes} looks at. */
export const diskHeaderBytes = 104;

/** Largest disk of a VM: what is made for it grows with what its header claims. */
const maxDiskBytes = 64 * 1024 ** 4;
const sectorBytes = 512;
const magic = 0x5146_49fb;
/** Incompatible feature: the data are in another file, which the header names. */
const externalData = 0b100;

/**
 * Size of the disk in an image, which has to be whole in itself. A qcow2 image may name another file that it lies
 * over, or that holds its data; QEMU opens whatever file of the host that is, and its guest reads it. Format: QEMU,
 * docs/interop/qcow2.txt.
 * @param start - the file's first bytes, {@link diskHeaderBytes} of them if it has as many.
 * @param fileBytes - the file's size.
 * @returns bytes, a multiple of 512.
 * @throws `hypervisor-failed` when it is no image of that format, or leads to other files.
 */
export function diskBytes(format: VmDisk['format'], start: Uint8Array, fileBytes: number): number {
  if (format === 'raw') return Math.ceil(fileBytes / sectorBytes) * sectorBytes;
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  if (start.length < diskHeaderBytes || view.getUint32(0) !== magic) throw refused('is not a qcow2 image');
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw refused(`is a qcow2 image of version ${version}, which is not known`);
  if (view.getBigUint64(8) !== 0n) {
    throw refused('lies over another file (a backing file); flatten it with `qemu-img convert -O qcow2`');
  }
  if (version === 3 && (view.getUint32(76) & externalData) !== 0) {
    throw refused('keeps its data in another file; put them into one with `qemu-img convert -O qcow2`');
  }
  if (view.getUint32(32) !== 0) throw refused('is encrypted');
  const size = view.getBigUint64(24);
  if (size === 0n || size % BigInt(sectorBytes) !== 0n || size > BigInt(maxDiskBytes)) {
    throw refused(`claims a disk of ${size} bytes`);
  }
  return Number(size);
}

/** Makes sure that a disk of this machine leads nowhere else. @throws `hypervisor-failed`. */
export async function checkLocalDisk({ path, format }: VmDisk): Promise<void> {
  if (format === 'raw') return;
  const file = await open(path, 'r').catch((error: unknown) => {
    throw refused(`can't be read: ${(error as Error).message}`);
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(diskHeaderBytes), 0, diskHeaderBytes, 0);
    diskBytes(format, buffer.subarray(0, bytesRead), (await file.stat()).size);
  } finally {
    await file.close();
  }
}

function refused(why: string): BringupError {
  return new BringupError('hypervisor-failed', `The root file system ${why}.`);
}
