import { BringupError, invalidInput } from '../errors.ts';
import type { Architecture } from '../model/architecture.ts';
import type { Artifact, ArtifactType } from '../model/artifact.ts';
import type { FlashSlot } from '../model/deployment.ts';
import type { FlashPart } from '../model/flash.ts';

/** Where the files of a build go unless it is said otherwise. */
export const defaultSlots: Readonly<Partial<Record<ArtifactType, string>>> = {
  kernel_image: 'kernel',
  initrd: 'initrd',
  device_tree: 'dtb',
  rootfs: 'rootfs',
};

/** A file of a {@link FlashPart}. */
export interface PlannedPart {
  readonly artifact: Artifact;
  readonly slot: string;
  /** Its block map. */
  readonly blockMap?: Artifact;
}

/**
 * Decides which file is flashed into which slot; extra files win over those of the build.
 * @throws `artifact-not-found` for a slot that names a file that is not there, or when there is nothing
 * to flash; `architecture-mismatch` when a file is for another architecture; `invalid-input` for a
 * slot that is named twice.
 */
export function planFlash(
  built: readonly Artifact[],
  extra: readonly Artifact[],
  slots: readonly FlashSlot[] | undefined,
  wanted: Architecture | undefined,
): { readonly architecture: Architecture; readonly parts: readonly PlannedPart[] } {
  const files = [...extra, ...built];
  const chosen = slots === undefined ? byType(files) : slots.map((slot) => inSlot(files, slot));
  const parts = chosen.map((part) => withBlockMap(files, part));
  const [first] = parts;
  if (first === undefined) {
    throw new BringupError(
      'artifact-not-found',
      `there is nothing to flash among ${built.map((file) => file.filename).join(', ') || 'no files'}; say with slots what goes where`,
      { details: { made: built.map((file) => file.filename) } },
    );
  }
  const twice = parts.find(({ slot }, index) => parts.findIndex((part) => part.slot === slot) < index);
  if (twice !== undefined) {
    throw invalidInput('the flash', [{ path: 'slots', message: `slot ${twice.slot} is named twice` }]);
  }
  const architecture = wanted ?? first.artifact.architecture;
  for (const { artifact } of parts) {
    if (artifact.architecture === architecture) continue;
    throw new BringupError(
      'architecture-mismatch',
      `${artifact.filename} is for ${artifact.architecture}, the board is ${architecture}`,
      { details: { artifactId: artifact.id, architecture: artifact.architecture, wanted: architecture } },
    );
  }
  return { architecture, parts };
}

function byType(files: readonly Artifact[]): PlannedPart[] {
  return Object.entries(defaultSlots).flatMap(([type, slot]) => {
    const fitting = files.filter((file) => file.artifactType === type);
    const [artifact] = fitting;
    // A kernel's build makes the trees of many boards: which one is this board's must be said.
    if (artifact === undefined || (type === 'device_tree' && fitting.length > 1)) return [];
    return [{ artifact, slot }];
  });
}

function inSlot(files: readonly Artifact[], { slot, artifactType, filename }: FlashSlot): PlannedPart {
  const artifact = files.find(
    (file) =>
      (artifactType === undefined || file.artifactType === artifactType) &&
      (filename === undefined || file.filename === filename || file.filename.endsWith(`/${filename}`)),
  );
  if (artifact !== undefined) return { artifact, slot };
  const wanted = filename ?? artifactType ?? '';
  throw new BringupError('artifact-not-found', `there is no ${wanted} for slot ${slot}`, {
    details: { wanted, slot, suggestions: files.map((file) => file.filename).slice(0, 20) },
  });
}

/** A map is that of the image beside it: another build's would leave out what this one holds. */
function withBlockMap(files: readonly Artifact[], part: PlannedPart): PlannedPart {
  const { filename, producerId } = part.artifact;
  const blockMap = files.find((file) => file.filename === `${filename}.bmap` && file.producerId === producerId);
  return blockMap === undefined ? part : { ...part, blockMap };
}

/** The parts as they are stored. */
export function flashParts(parts: readonly PlannedPart[]): FlashPart[] {
  return parts.map(({ artifact, slot, blockMap }) => ({
    artifactId: artifact.id,
    filename: artifact.filename,
    slot,
    sizeBytes: artifact.sizeBytes,
    sha256: artifact.checksumSha256,
    ...(blockMap !== undefined && { blockMapId: blockMap.id }),
  }));
}
