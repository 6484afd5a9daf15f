import fc from 'fast-check';
import { expect, it } from 'vitest';
import { memoryLab } from '@bringup/core/testing';

const branchNames = ['main', 'next'] as const;
const branch = fc.constantFrom(...branchNames);
// Few commits: the same one is built again, and comes by two branches.
const commit = fc.constantFrom('a', 'b', 'c').map((digit) => digit.repeat(40));

type Step =
  | { readonly do: 'push'; readonly branch: string; readonly commit: string }
  | { readonly do: 'build'; readonly branch: string; readonly works: boolean };

interface Built {
  readonly id: string;
  readonly branch: string;
  readonly commitHash: string;
}

/** What happens in a lab: somebody pushes, somebody builds the head of a branch, and it works or not. */
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('push' as const), branch, commit }),
    fc.record({ do: fc.constant('build' as const), branch, works: fc.boolean() }),
  ),
  { minLength: 1, maxLength: 8 },
);

it('P5, R4.5: an artifact is the same by its build, by its commit and as the latest of its branch', async () => {
  let works = true;
  await using lab = await memoryLab({
    build: async ({ output, commit: hash, sleep }) => {
      await sleep(1_000);
      output('kernel.elf', `kernel of ${hash}`);
      return works ? 0 : 2;
    },
  });
  await lab.addServer();
  let cases = 0;

  /** Builds that worked, oldest first. */
  async function play(sourceRepository: string, all: readonly Step[]): Promise<Built[]> {
    const branches: Record<string, string> = {};
    const built: Built[] = [];
    for (const step of all) {
      if (step.do === 'push') {
        branches[step.branch] = step.commit;
        lab.repositories.set(sourceRepository, { branches: { ...branches } });
        continue;
      }
      const commitHash = branches[step.branch];
      if (commitHash === undefined) continue;
      works = step.works;
      const { id } = await lab.builds.submitBuild({
        sourceRepository,
        branch: step.branch,
        targetArchitecture: 'x86_64',
        buildConfig: { recipe: 'script', script: './build.sh', outputs: [{ type: 'kernel_image', path: '*.elf' }] },
      });
      await lab.clock.runUntil(lab.builds.waitForBuild(id));
      if (works) built.push({ id, branch: step.branch, commitHash });
    }
    return built;
  }

  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const sourceRepository = `https://git.example/case-${(cases += 1)}.git`;
      const built = await play(sourceRepository, all);
      for (const { id, commitHash } of built) {
        const { artifacts } = await lab.artifacts.select({ buildId: id });
        for (const artifact of artifacts) {
          expect(artifact).toMatchObject({ buildId: id, architecture: 'x86_64' });
          expect(await lab.artifacts.getArtifact(artifact.id)).toEqual(artifact);
        }
        const image = artifacts.find(({ artifactType }) => artifactType === 'kernel_image') ?? expect.fail();
        expect((await lab.artifacts.readAll(image)).toString()).toBe(`kernel of ${commitHash}`);
        const newest = built.findLast((other) => other.commitHash === commitHash);
        expect(await lab.artifacts.select({ commitHash, sourceRepository })).toEqual(
          await lab.artifacts.select({ buildId: newest?.id ?? '' }),
        );
      }
      for (const name of branchNames) {
        const newest = built.findLast((one) => one.branch === name)?.id;
        const latest = lab.artifacts.select({ branch: name, sourceRepository });
        if (newest === undefined) await expect(latest).rejects.toMatchObject({ code: 'artifact-not-found' });
        else expect(await latest).toEqual(await lab.artifacts.select({ buildId: newest }));
      }
    }),
    { numRuns: 100 },
  );
}, 120_000);
