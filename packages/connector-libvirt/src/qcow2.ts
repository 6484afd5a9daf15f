const magic = 0x5146_49fb;
const clusterBits = 16;
const clusterBytes = 1 << clusterBits;
/** Bytes of disk that one first-level entry stands for: a second-level table of one cluster. */
const bytesPerEntry = clusterBytes * (clusterBytes / 8);
const headerLength = 104;

/**
 * An empty qcow2 image over another one: all reads go to `base`, all writes stay in the image. It
 * spares hosts the qemu-img tool, which libvirt does not depend on. Format: QEMU,
 * docs/interop/qcow2.txt, version 3.
 * @param sizeBytes - size of the disk, a multiple of 512.
 */
export function qcow2Overlay(base: string, format: 'raw' | 'qcow2', sizeBytes: number): Buffer {
  const name = Buffer.from(base, 'utf8');
  const entries = Math.max(1, Math.ceil(sizeBytes / bytesPerEntry));
  const tableClusters = Math.ceil((entries * 8) / clusterBytes);
  // Clusters: header, reference count table, its one block, first-level table.
  const used = 3 + tableClusters;
  const image = Buffer.alloc(used * clusterBytes);
  const extensionAt = headerLength;
  const nameAt = extensionAt + 8 + 8 + 8;

  image.writeUInt32BE(magic, 0);
  image.writeUInt32BE(3, 4);
  image.writeBigUInt64BE(BigInt(nameAt), 8);
  image.writeUInt32BE(name.length, 16);
  image.writeUInt32BE(clusterBits, 20);
  image.writeBigUInt64BE(BigInt(sizeBytes), 24);
  image.writeUInt32BE(entries, 36);
  image.writeBigUInt64BE(BigInt(3 * clusterBytes), 40);
  image.writeBigUInt64BE(BigInt(clusterBytes), 48);
  image.writeUInt32BE(1, 56);
  image.writeUInt32BE(4, 96); // reference counts of 2^4 bits
  image.writeUInt32BE(headerLength, 100);

  // Header extension: the base's format, so that nobody has to guess it; then the end mark.
  image.writeUInt32BE(0xe279_2aca, extensionAt);
  image.writeUInt32BE(format.length, extensionAt + 4);
  image.write(format, extensionAt + 8, 'latin1');
  name.copy(image, nameAt);

  image.writeBigUInt64BE(BigInt(2 * clusterBytes), clusterBytes);
  for (let cluster = 0; cluster < used; cluster += 1) image.writeUInt16BE(1, 2 * clusterBytes + 2 * cluster);
  return image;
}
