import { createHash } from 'node:crypto';
import { invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';

/** A stretch of an image that holds something. */
export interface BlockRange {
  /** A multiple of the map's block size. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** Of its bytes in the image; lower-case hex. */
  readonly sha256: string;
}

/** Which stretches of a raw image hold something; what lies between them may be left as it is on the medium. */
export interface BlockMap {
  readonly imageBytes: number;
  readonly blockBytes: number;
  /** Ascending, none overlaps another. */
  readonly ranges: readonly BlockRange[];
}

/**
 * Reads a block map as bmaptool makes it, version 2.0 of its format with SHA-256 checksums: every range's,
 * and that of the map itself. Source: bmap-tools, `docs/README.md` and the comments of the files it makes.
 * @throws `invalid-input` naming the element that can't be.
 */
export function parseBlockMap(text: string): BlockMap {
  if (text.length > limits.blockMapBytes) throw wrong('', `is larger than ${limits.blockMapBytes} bytes`);
  const content = withoutComments(text);
  const version = /<bmap\s+version\s*=\s*"([^"]*)"/.exec(content)?.[1];
  if (version === undefined) throw wrong('bmap', 'is missing: this is no block map');
  if (!/^2\.\d+$/.test(version))
    throw wrong('bmap', `has version ${quoted(version)}, only 2.x is known; make it with bmaptool 3`);
  const checksumType = elementText(content, 'ChecksumType');
  if (checksumType !== 'sha256') throw wrong('ChecksumType', `must be sha256, not ${quoted(checksumType)}`);
  checkOwnSum(text, elementText(content, 'BmapFileChecksum'));
  const imageBytes = count(content, 'ImageSize');
  const blockBytes = count(content, 'BlockSize');
  if (blockBytes === 0 || blockBytes % 512 !== 0) throw wrong('BlockSize', 'must be a multiple of 512');
  const ranges = [...content.matchAll(/<Range\b([^<>]*)>([^<]*)<\/Range>/g)].map(([, attributes = '', blocks = '']) =>
    range(attributes, blocks.trim(), imageBytes, blockBytes),
  );
  for (const [index, { offsetBytes }] of ranges.entries()) {
    const before = ranges[index - 1];
    if (before !== undefined && before.offsetBytes + before.sizeBytes > offsetBytes)
      throw wrong('BlockMap', `has ranges that overlap or go back at byte ${offsetBytes}`);
  }
  const mapped = ranges.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / blockBytes), 0);
  if (mapped !== count(content, 'MappedBlocksCount'))
    throw wrong('MappedBlocksCount', `is not the ${mapped} blocks of the ranges`);
  return { imageBytes, blockBytes, ranges };
}

function range(attributes: string, blocks: string, imageBytes: number, blockBytes: number): BlockRange {
  const sha256 = /\bchksum\s*=\s*"([0-9a-f]{64})"/.exec(attributes)?.[1];
  const [, first = '', last = first] = /^(\d{1,15})(?:\s*-\s*(\d{1,15}))?$/.exec(blocks) ?? [];
  if (sha256 === undefined) throw wrong('Range', `${quoted(blocks)} has no SHA-256`);
  const offsetBytes = Number(first) * blockBytes;
  const endBytes = Math.min((Number(last) + 1) * blockBytes, imageBytes);
  if (first === '' || endBytes <= offsetBytes) throw wrong('Range', `${quoted(blocks)} is no range of the image`);
  return { offsetBytes, sizeBytes: endBytes - offsetBytes, sha256 };
}

/** The map's own checksum is that of its text with zeros in the place of the checksum. */
function checkOwnSum(text: string, sum: string): void {
  if (!/^[0-9a-f]{64}$/.test(sum)) throw wrong('BmapFileChecksum', 'is no SHA-256');
  const found = createHash('sha256')
    .update(text.replace(sum, '0'.repeat(64)))
    .digest('hex');
  if (found !== sum) throw wrong('BmapFileChecksum', `is ${sum}, but the map's is ${found}: the file is damaged`);
}

function elementText(content: string, name: string): string {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(content)?.[1];
  if (found === undefined) throw wrong(name, 'is missing');
  return found.trim();
}

function count(content: string, name: string): number {
  const value = Number(elementText(content, name));
  if (!Number.isSafeInteger(value) || value < 0) throw wrong(name, 'must be a whole number');
  return value;
}

/** An expression would look for the end of each comment anew: a map of unfinished ones takes it hours. */
function withoutComments(text: string): string {
  const parts: string[] = [];
  let at = 0;
  for (let start = text.indexOf('<!--'); start !== -1; start = text.indexOf('<!--', at)) {
    const end = text.indexOf('-->', start + 4);
    if (end === -1) break;
    parts.push(text.slice(at, start));
    at = end + 3;
  }
  return parts.join('') + text.slice(at);
}

/** What the map says, as it may stand in an error. */
function quoted(words: string): string {
  return JSON.stringify(words.slice(0, 80));
}

function wrong(path: string, message: string): Error {
  return invalidInput('the block map', [{ path, message }]);
}
