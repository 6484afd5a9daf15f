import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import { parseBlockMap, type BlockMap } from '../model/block-map.ts';
import type { FlashPart } from '../model/flash.ts';

/**
 * The block map of a part; undefined when it has none.
 * @throws `invalid-input` for one that can't be or is another image's; as reading an artifact.
 */
export async function blockMapOf(
  artifacts: ArtifactRepository,
  { blockMapId, filename, sizeBytes }: FlashPart,
  { signal }: Pick<CallOptions, 'signal'>,
): Promise<BlockMap | undefined> {
  if (blockMapId === undefined) return undefined;
  const artifact = await artifacts.getArtifact(blockMapId);
  if (artifact.sizeBytes > limits.blockMapBytes) {
    throw invalidInput('the block map', [{ path: '', message: `is larger than ${limits.blockMapBytes} bytes` }]);
  }
  const bytes = await artifacts.readAll(artifact, signal === undefined ? {} : { signal });
  const map = parseBlockMap(bytes.toString('utf8'));
  if (map.imageBytes !== sizeBytes) {
    const message = `is of an image of ${map.imageBytes} bytes, but ${filename} has ${sizeBytes}`;
    throw invalidInput('the block map', [{ path: 'ImageSize', message }]);
  }
  return map;
}
