import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseBlockMap, type BlockMap } from '../../src/index.ts';
import { blockMapText, signedBlockMap } from '../support/block-map.ts';

const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function written({ imageBytes, blockBytes, ranges }: BlockMap): string {
  return blockMapText(
    blockBytes,
    ranges.map(({ offsetBytes, sizeBytes, sha256: sum }) => {
      const first = offsetBytes / blockBytes;
      return [first, first + Math.ceil(sizeBytes / blockBytes) - 1, sum];
    }),
    imageBytes,
  );
}

const maps: fc.Arbitrary<BlockMap> = fc
  .record({
    blockBytes: fc.constantFrom(512, 4096),
    stretches: fc.array(fc.record({ gap: fc.integer({ min: 1, max: 9 }), blocks: fc.integer({ min: 1, max: 9 }) })),
    tail: fc.nat(511),
  })
  .map(({ blockBytes, stretches, tail }) => {
    let block = -1;
    const ranges = stretches.map(({ gap, blocks }) => {
      const offsetBytes = (block + gap) * blockBytes;
      block += gap + blocks;
      return { offsetBytes, sizeBytes: blocks * blockBytes, sha256: sha256(`${offsetBytes}`) };
    });
    const last = ranges.at(-1);
    // An image may end within its last block.
    if (last === undefined) return { imageBytes: tail, blockBytes, ranges };
    const shorter = { ...last, sizeBytes: last.sizeBytes - tail };
    return { imageBytes: last.offsetBytes + shorter.sizeBytes, blockBytes, ranges: [...ranges.slice(0, -1), shorter] };
  });

const one: BlockMap = {
  imageBytes: 10_000,
  blockBytes: 4096,
  ranges: [{ offsetBytes: 4096, sizeBytes: 5904, sha256: sha256('x') }],
};

test('a block map of any ranges is read as it was written', () => {
  fc.assert(
    fc.property(maps, (map) => {
      expect(parseBlockMap(written(map))).toEqual(map);
    }),
    { numRuns: 200 },
  );
});

test('a block map with any character changed is refused', () => {
  const text = written(one);
  fc.assert(
    fc.property(fc.nat(text.length - 1), (at) => {
      const changed = text.slice(0, at) + (text[at] === 'q' ? 'r' : 'q') + text.slice(at + 1);
      expect(() => parseBlockMap(changed)).toThrow(expect.objectContaining({ code: 'invalid-input' }));
    }),
    { numRuns: 300 },
  );
});

test.for([
  ['no block map', '<html></html>', 'bmap'],
  ['of a version that is not known', written(one).replace('version="2.0"', 'version="1.3"'), 'bmap'],
  ['with other checksums', written(one).replace(' sha256 ', ' sha1 '), 'ChecksumType'],
  ['beyond the image', written(one).replace('> 1-2 <', '> 1-2000000 <').replace('> 10000 <', '> 4096 <'), 'Range'],
  [
    'that goes back',
    written(one).replace('</BlockMap>', `<Range chksum="${sha256('')}">0</Range></BlockMap>`),
    'BlockMap',
  ],
  ['that counts wrong', written(one).replace('> 2    <', '> 3 <'), 'MappedBlocksCount'],
  ['without a range’s checksum', written(one).replace(/chksum="[^"]*"/, ''), 'Range'],
  ['of blocks that are none', written(one).replace('> 4096 <', '> 100 <'), 'BlockSize'],
] as const)('a block map %s is refused, naming the element', ([, text, path]) => {
  expect(() => parseBlockMap(signedBlockMap(text))).toThrow(
    expect.objectContaining({
      code: 'invalid-input',
      details: expect.objectContaining({ issues: [expect.objectContaining({ path })] }),
    }),
  );
});
