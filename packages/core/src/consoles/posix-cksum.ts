const table = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index << 24;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc << 1) ^ (crc < 0 ? 0x04c1_1db7 : 0);
  return crc >>> 0;
});

/** What POSIX `cksum` computes: a CRC-32 over the bytes and their number. Every system has it. */
export class PosixCksum {
  #crc = 0;
  #size = 0;

  update(bytes: Uint8Array): this {
    for (const byte of bytes) this.#step(byte);
    this.#size += bytes.length;
    return this;
  }

  /** As `cksum` prints it: checksum and number of bytes. */
  digest(): string {
    const crc = this.#crc;
    for (let size = this.#size; size > 0; size = Math.floor(size / 256)) this.#step(size % 256);
    const sum = ~this.#crc >>> 0;
    this.#crc = crc;
    return `${sum} ${this.#size}`;
  }

  #step(byte: number): void {
    this.#crc = ((this.#crc << 8) ^ (table[((this.#crc >>> 24) ^ byte) & 0xff] ?? 0)) >>> 0;
  }
}
