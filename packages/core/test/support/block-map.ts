import { createHash } from 'node:crypto';

/** A block map as bmaptool writes it, of ranges of blocks: the first, the last, and the SHA-256 of their bytes. */
export function blockMapText(
  blockBytes: number,
  ranges: readonly (readonly [first: number, last: number, sha256: string])[],
  imageBytes: number,
): string {
  const mapped = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  const lines = ranges.map(
    ([first, last, sha256]) =>
      `        <Range chksum="${sha256}"> ${first === last ? first : `${first}-${last}`} </Range>`,
  );
  return signedBlockMap(`<?xml version="1.0" ?>
<!-- This file contains the block map for an image file. <Range> 1-2 </Range> -->
<bmap version="2.0">
    <!-- Image size in bytes -->
    <ImageSize> ${imageBytes} </ImageSize>
    <BlockSize> ${blockBytes} </BlockSize>
    <BlocksCount> ${Math.ceil(imageBytes / blockBytes)} </BlocksCount>
    <MappedBlocksCount> ${mapped}    </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> ${unsigned} </BmapFileChecksum>
    <BlockMap>
${lines.join('\n')}
    </BlockMap>
</bmap>
`);
}

const unsigned = '0'.repeat(64);

/** Puts a map's own checksum in, anew if it has one. */
export function signedBlockMap(text: string): string {
  const bare = text.replace(/(?<=<BmapFileChecksum> )\w{64}/, unsigned);
  return bare.replace(unsigned, createHash('sha256').update(bare).digest('hex'));
}
