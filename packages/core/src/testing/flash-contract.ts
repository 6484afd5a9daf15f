import type { FlashImage, FlashProof, FlashStation } from '../contracts/flash.ts';
import type { TransferProgress } from '../contracts/shell.ts';
import type { BlockMap } from '../model/block-map.ts';
import { failure, noise, sha256 } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** One board's flash station to run the suite against, and what can be done to it. */
export interface FlashContractFixture {
  readonly station: FlashStation;
  /** A slot that takes at least 1 MiB. */
  readonly slot: string;
  /** How this method verifies. */
  readonly proof: FlashProof;
  /** What the slot holds, found out behind the station's back. */
  readonly contents: () => Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Makes the medium damage a byte of the next image. */
  readonly corruptNext?: () => void | Promise<void>;
  /** Makes the station go away in the middle of the next image. */
  readonly cutNext?: () => void | Promise<void>;
  /** Takes everything down, the station included. */
  readonly dispose: () => Promise<void>;
}

/** What {@link flashContract} is given. */
export interface FlashContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Called for each test. */
  readonly setup: () => Promise<FlashContractFixture>;
}

const imageBytes = 1024 * 1024;

/**
 * Registers the vitest suite that every {@link FlashStation} passes. Tests of what the fixture can't
 * do are skipped.
 * @throws `dependency-missing` outside a vitest run.
 */
export function flashContract({ name, setup }: FlashContractOptions): void {
  const { vitest } = testFramework();
  const { describe, expect, it } = vitest;

  describe(`flash contract: ${name}`, () => {
    const content = noise(imageBytes);
    let fixture: FlashContractFixture;
    const image = (bytes: Uint8Array = content): FlashImage => ({ slot: fixture.slot, bytes: piecewise(bytes) });
    const expectFlashed = async (bytes: Uint8Array): Promise<void> =>
      expect(Buffer.from((await fixture.contents()) ?? []).equals(bytes)).toBe(true);

    vitest.beforeEach(async () => {
      fixture = await setup();
    });
    vitest.afterEach(() => fixture.dispose());

    it('writes every byte and says what is proven of it', async () => {
      const { station, slot, proof } = fixture;
      expect(await station.flash(image())).toEqual({
        slot,
        sizeBytes: imageBytes,
        sha256: sha256(content),
        verified: proof,
      });
      await expectFlashed(content);
    });

    it('flashing again replaces what was there', async () => {
      const second = noise(imageBytes / 2);
      await fixture.station.flash(image());
      await fixture.station.flash(image(second));
      expect(
        Buffer.from((await fixture.contents()) ?? [])
          .subarray(0, second.length)
          .equals(second),
      ).toBe(true);
    });

    it('an image with a block map is there wherever the map has something', async () => {
      const { station, slot } = fixture;
      const stretches = [
        [0, 512],
        [4096, 65_536],
        [imageBytes - 1024, imageBytes],
      ] as const;
      const ranges = stretches.map(([from, to]) => ({
        offsetBytes: from,
        sizeBytes: to - from,
        sha256: sha256(content.subarray(from, to)),
      }));
      const blockMap: BlockMap = { imageBytes, blockBytes: 512, ranges };
      expect(await station.flash({ ...image(), blockMap })).toMatchObject({
        sizeBytes: imageBytes,
        sha256: sha256(content),
      });
      const stored = Buffer.from((await fixture.contents()) ?? []);
      for (const [from, to] of stretches)
        expect(stored.subarray(from, to).equals(content.subarray(from, to))).toBe(true);
      const expected = { slot, sizeBytes: imageBytes, sha256: sha256(content), blockMap };
      if (station.verify !== undefined) expect(await station.verify(expected)).toBe(true);
    });

    it('reports progress that grows to the whole', async () => {
      const reports: TransferProgress[] = [];
      await fixture.station.flash(image(), { onProgress: (progress) => reports.push(progress) });
      const transferred = reports.map((report) => report.transferredBytes);
      expect(transferred).toEqual(transferred.toSorted((a, b) => a - b));
      expect(reports.at(-1)).toEqual({ transferredBytes: imageBytes, totalBytes: imageBytes });
    });

    it('a byte damaged on the way to the medium is found, or no one claims to have read back', async ({ skip }) => {
      const { station, proof, corruptNext } = fixture;
      if (corruptNext === undefined) return skip('the fixture can’t damage a byte');
      await corruptNext();
      if (proof === 'readback') await failure(station.flash(image()), 'checksum-mismatch');
      else expect((await station.flash(image())).verified).toBe(proof);
      await station.flash(image());
      await expectFlashed(content);
    });

    it('bytes that are not what their source promised are not accepted', async () => {
      const lying: FlashImage = { ...image(), bytes: { ...piecewise(content), sha256: '0'.repeat(64) } };
      await failure(fixture.station.flash(lying), 'checksum-mismatch');
    });

    it('a station that goes away midway is a lost connection, and the slot can be flashed again', async ({ skip }) => {
      const { station, cutNext } = fixture;
      if (cutNext === undefined) return skip('the fixture can’t cut the station off');
      await cutNext();
      await failure(station.flash(image()), 'connection-lost');
      await station.flash(image());
      await expectFlashed(content);
    });

    it('aborted midway it stops reading the image, and the slot can be flashed again', async () => {
      const controller = new AbortController();
      let given = 0;
      const source = piecewise(content, () => {
        given += 1;
        if (given === 2) controller.abort();
      });
      await failure(
        fixture.station.flash({ slot: fixture.slot, bytes: source }, { signal: controller.signal }),
        'aborted',
      );
      expect(given).toBeLessThan(imageBytes / pieceBytes);
      await fixture.station.flash(image());
      await expectFlashed(content);
    });

    it('a slot that the board does not have is refused', async () => {
      await failure(fixture.station.flash({ ...image(), slot: 'no-such-slot' }), 'flash-failed');
    });

    it('disposing twice is fine, and it takes no images after', async () => {
      const { station } = fixture;
      await station[Symbol.asyncDispose]();
      await station[Symbol.asyncDispose]();
      await expect(station.flash(image())).rejects.toThrow(TypeError);
    });
  });
}

const pieceBytes = 64 * 1024;

/** The bytes in pieces, telling of each. */
function piecewise(bytes: Uint8Array, onPiece: () => void = () => {}): FlashImage['bytes'] {
  return {
    sizeBytes: bytes.length,
    sha256: sha256(bytes),
    async *read(from = 0) {
      for (let offset = from; offset < bytes.length; offset += pieceBytes) {
        onPiece();
        yield bytes.subarray(offset, offset + pieceBytes);
      }
    },
  };
}
