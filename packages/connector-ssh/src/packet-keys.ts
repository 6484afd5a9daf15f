import { createSecretKey, KeyObject } from 'node:crypto';
import type { Client } from 'ssh2';

/** Fields of ssh2 that are not part of its interface: any of them may be missing in another version. */
interface ClientInternals {
  readonly _protocol?: { readonly _cipher?: { _encKey?: unknown }; readonly _decipher?: { _decipherKey?: unknown } };
}

/**
 * Turns the session keys of AES-GCM into key objects after a key exchange. ssh2 makes a cipher per
 * packet from the raw bytes of its key, which Node has to examine each time: 11 µs, against 1.6 µs
 * with a key object. That is a third of the CPU time of a transfer. Where ssh2 keeps its keys
 * elsewhere, nothing is touched and all works as before.
 *
 * @returns whether the keys of both directions are key objects now.
 */
export function preparePacketKeys(client: Client): boolean {
  const { _cipher: cipher, _decipher: decipher } = (client as unknown as ClientInternals)._protocol ?? {};
  if (Buffer.isBuffer(cipher?._encKey)) cipher._encKey = createSecretKey(cipher._encKey);
  if (Buffer.isBuffer(decipher?._decipherKey)) decipher._decipherKey = createSecretKey(decipher._decipherKey);
  return cipher?._encKey instanceof KeyObject && decipher?._decipherKey instanceof KeyObject;
}
