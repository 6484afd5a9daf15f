import { protocolError } from './protocol-error.ts';

/** Longest string libvirt allows in a message: REMOTE_STRING_MAX, raised to 4 MiB in 1.0.6. */
export const maxStringBytes: number = 4 * 1024 * 1024;

/** Writes XDR (RFC 4506): big-endian, every item padded to four bytes. */
export class XdrWriter {
  readonly #parts: Uint8Array[] = [];

  u32(value: number): this {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeUInt32BE(value);
    this.#parts.push(bytes);
    return this;
  }

  i32(value: number): this {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeInt32BE(value);
    this.#parts.push(bytes);
    return this;
  }

  u64(value: bigint): this {
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeBigUInt64BE(value);
    this.#parts.push(bytes);
    return this;
  }

  /** Bytes whose number both sides know. */
  fixed(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    const rest = bytes.length % 4;
    if (rest !== 0) this.#parts.push(Buffer.alloc(4 - rest));
    return this;
  }

  /** Bytes preceded by their number. */
  opaque(bytes: Uint8Array): this {
    return this.u32(bytes.length).fixed(bytes);
  }

  string(text: string): this {
    return this.opaque(Buffer.from(text, 'utf8'));
  }

  /** A value that may be NULL: a flag, then the value if there is one. */
  optional<T>(value: T | undefined, write: (value: T) => void): this {
    this.u32(value === undefined ? 0 : 1);
    if (value !== undefined) write(value);
    return this;
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.u32(items.length);
    for (const item of items) write(item);
    return this;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/**
 * Reads XDR. Every read is bounded by what the peer sent, so a garbled length costs neither memory
 * nor time.
 * @throws `hypervisor-failed` with `details.reason` `protocol` from every method.
 */
export class XdrReader {
  readonly #bytes: Buffer;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  #take(length: number): number {
    if (length > this.remaining) {
      throw protocolError(`a message ends ${length - this.remaining} bytes too early`);
    }
    const at = this.#position;
    this.#position += length;
    return at;
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  i64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  f64(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  /** `length` bytes, as a view of the message. */
  fixed(length: number): Buffer {
    const at = this.#take(length + ((4 - (length % 4)) % 4));
    return this.#bytes.subarray(at, at + length);
  }

  opaque(maxBytes: number): Buffer {
    const length = this.u32();
    if (length > maxBytes) throw protocolError(`an item of ${length} bytes is longer than ${maxBytes}`);
    return this.fixed(length);
  }

  string(maxBytes: number = maxStringBytes): string {
    return this.opaque(maxBytes).toString('utf8');
  }

  optional<T>(read: () => T): T | undefined {
    const flag = this.u32();
    if (flag > 1) throw protocolError(`an optional item has the flag ${flag}`);
    return flag === 1 ? read() : undefined;
  }

  array<T>(maxItems: number, read: () => T): T[] {
    const length = this.u32();
    if (length > maxItems) throw protocolError(`a list of ${length} items is longer than ${maxItems}`);
    // Whatever an item is, it takes at least one word.
    if (4 * length > this.remaining) throw protocolError(`a list of ${length} items is longer than its message`);
    const items: T[] = [];
    for (let i = 0; i < length; i += 1) items.push(read());
    return items;
  }
}
