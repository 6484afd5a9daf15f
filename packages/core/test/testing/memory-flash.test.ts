import { describe, expect, test } from 'vitest';
import { flashContract, memoryFlash } from '../../src/testing/index.ts';

for (const proof of ['readback', 'transport'] as const) {
  flashContract({
    name: `memory, proof ${proof}`,
    setup: async () => {
      const station = memoryFlash({ proof });
      return {
        station,
        slot: 'firmware',
        proof,
        contents: () => station.contents('firmware'),
        corruptNext: () => station.corruptNext(12_345),
        cutNext: () => station.cutNextAfter(100_000),
        dispose: () => station[Symbol.asyncDispose](),
      };
    },
  });
}

describe('a flash in memory', () => {
  const image = (bytes: Uint8Array): { sizeBytes: number; read: () => AsyncGenerator<Uint8Array> } => ({
    sizeBytes: bytes.length,
    async *read() {
      yield bytes;
    },
  });

  test('keeps the half that was written when it is cut off', async () => {
    const station = memoryFlash();
    station.cutNextAfter(3);
    await expect(station.flash({ slot: 'firmware', bytes: image(Buffer.from('abcdef')) })).rejects.toHaveProperty(
      'code',
      'connection-lost',
    );
    expect(station.contents('firmware')?.toString()).toBe('abc');
  });

  test('refuses an image that is larger than the slot, before it writes', async () => {
    const station = memoryFlash({ slots: { tiny: 4 } });
    const flashing = station.flash({ slot: 'tiny', bytes: image(Buffer.from('abcdef')) });
    await expect(flashing).rejects.toHaveProperty('code', 'flash-failed');
    expect(station.contents('tiny')).toBeUndefined();
  });
});
