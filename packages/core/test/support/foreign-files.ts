import fc from 'fast-check';
import { expect } from 'vitest';
import { architectures, type Artifact } from '@bringup/core';

type Architecture = Artifact['architecture'];

function fileOf(artifactType: Artifact['artifactType'], architecture: Architecture): Artifact {
  return {
    id: artifactType,
    producerId: 'b',
    artifactType,
    filename: artifactType,
    sizeBytes: 1,
    checksumSha256: '',
    architecture,
    metadata: {},
    createdAt: 0,
  };
}

/**
 * Whatever a build made: what is chosen of it is of one architecture, the wanted one or else the kernel's, or it is refused.
 * @param second - what goes with a kernel.
 */
export function expectForeignFilesRefused(
  second: Artifact['artifactType'],
  choose: (built: readonly Artifact[], wanted: Architecture | undefined) => unknown,
): void {
  const architecture = fc.constantFrom(...architectures);
  const maybe = fc.option(architecture, { nil: undefined });
  fc.assert(
    fc.property(architecture, architecture, maybe, maybe, (kernel, other, rootfs, wanted) => {
      const built = [
        fileOf('kernel_image', kernel),
        fileOf(second, other),
        ...(rootfs === undefined ? [] : [fileOf('rootfs', rootfs)]),
      ];
      const target = wanted ?? kernel;
      const chosen = (): unknown => choose(built, wanted);
      if (built.every((one) => one.architecture === target)) expect(chosen()).toMatchObject({ architecture: target });
      else expect(chosen).toThrow(expect.objectContaining({ code: 'architecture-mismatch' }));
    }),
    { numRuns: 200 },
  );
}
