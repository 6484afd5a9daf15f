import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBringupError, type ArtifactSelection, type Architecture } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { kernelBuild, kernelUrl, repositories } from '../support/requests.ts';

const otherUrl = 'https://git.example/other.git';

/** Builds a commit of a branch; gives the build's id. */
async function build(
  lab: MemoryLab,
  what: {
    readonly commit: string;
    readonly branch?: string;
    readonly architecture?: Architecture;
    readonly url?: string;
    readonly content?: string;
  },
): Promise<string> {
  const { commit, branch = 'main', architecture = 'x86_64', url = kernelUrl, content = commit } = what;
  const known = lab.repositories.get(url)?.branches ?? {};
  lab.repositories.set(url, { branches: { ...known, [branch]: commit } });
  makes.set(commit, content);
  const { id } = await lab.builds.submitBuild({
    ...kernelBuild,
    sourceRepository: url,
    branch,
    targetArchitecture: architecture,
    buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'image' }] },
  });
  const done = await lab.clock.runUntil(lab.builds.waitForBuild(id));
  expect(done).toMatchObject({ status: 'completed', commitHash: commit });
  await lab.clock.advance(1_000);
  return id;
}

const makes = new Map<string, string>();

async function labWithServer(): Promise<MemoryLab> {
  const lab = await memoryLab({
    repositories,
    build: ({ commit, output }) => output('image', makes.get(commit) ?? ''),
  });
  await lab.addServer();
  return lab;
}

const commitOf = (digits: string): string => digits.padEnd(40, '0');

describe('looking up artifacts', () => {
  it('R4.1, R4.5, P5: gives the same artifacts by build id, by commit, by its first digits, by tag and as the latest', async () => {
    await using lab = await labWithServer();
    let n = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<Architecture>('x86_64', 'arm64'),
        fc.string({ maxLength: 40 }),
        fc.boolean(),
        async (architecture, content, olderToo) => {
          n += 1;
          const branch = `topic-${n}`;
          if (olderToo)
            await build(lab, { commit: commitOf(`${1000 + n}eeeeee`), branch, architecture, content: 'older' });
          const commit = commitOf(`${1000 + n}abcdef`);
          const buildId = await build(lab, { commit, branch, architecture, content });
          await lab.artifacts.tagBuild(buildId, `v${n}`);
          const byId = await lab.artifacts.getArtifactsByBuild(buildId);
          const ways: ArtifactSelection[] = [
            { buildId },
            { commitHash: commit },
            { commitHash: commit.slice(0, 10) },
            { tag: `v${n}` },
            { branch },
            { branch, architecture, useLatest: true },
            { useLatest: true },
          ];
          for (const way of ways) {
            expect(await lab.artifacts.select(way)).toEqual({ buildId, commitHash: commit, artifacts: byId });
          }
          expect(await lab.artifacts.getLatestArtifacts({ branch })).toEqual(byId);
          for (const artifact of byId) {
            expect(await lab.artifacts.getArtifact(artifact.id)).toEqual(artifact);
            expect(artifact).toMatchObject({ buildId, architecture, metadata: { commit, branch } });
          }
          const image = byId.find(({ artifactType }) => artifactType === 'kernel_image');
          expect((await lab.artifacts.readAll({ id: image?.id ?? '' })).toString()).toBe(content);
        },
      ),
      { numRuns: 100 },
    );
  }, 120_000);

  it('E-no-artifact: suggests the builds that come nearest, best first', async () => {
    await using lab = await labWithServer();
    const far = await build(lab, { commit: commitOf('1111111'), branch: 'side', url: otherUrl });
    const sameRepository = await build(lab, { commit: commitOf('2222222'), branch: 'side' });
    const sameBranch = await build(lab, { commit: commitOf('3333333') });
    const sameCommit = await build(lab, { commit: commitOf('4444444') });
    const suggestionsFor = async (selection: ArtifactSelection): Promise<readonly string[]> => {
      try {
        await lab.artifacts.select(selection);
      } catch (error) {
        if (!isBringupError(error, 'artifact-not-found')) throw error;
        const suggestions = error.details['suggestions'] as readonly string[];
        for (const id of suggestions) expect(error.message).toContain(id);
        return suggestions;
      }
      return expect.fail('there should be no such build');
    };
    expect(await suggestionsFor({ commitHash: commitOf('4444444'), architecture: 'arm64' })).toEqual([
      sameCommit,
      sameBranch,
      sameRepository,
      far,
    ]);
    expect(await suggestionsFor({ branch: 'main', sourceRepository: kernelUrl, architecture: 'riscv64' })).toEqual([
      sameCommit,
      sameBranch,
      sameRepository,
      far,
    ]);
    expect(await suggestionsFor({ branch: 'side', sourceRepository: otherUrl, architecture: 'arm64' })).toEqual([
      far,
      sameRepository,
      sameCommit,
      sameBranch,
    ]);
    // Of a build whose artifacts are gone, it says so and names those most like it.
    await lab.artifacts.deleteArtifacts(sameBranch);
    expect((await suggestionsFor({ buildId: sameBranch }))[0]).toBe(sameCommit);
    await expect(lab.artifacts.select({ buildId: sameBranch })).rejects.toThrow(/were removed at .*; build it again/);
  });

  it('E-no-artifact: takes the first digits of a commit only where they are clear', async () => {
    await using lab = await labWithServer();
    await build(lab, { commit: commitOf('abcdef12') });
    await build(lab, { commit: commitOf('abcdef13') });
    await expect(lab.artifacts.select({ commitHash: 'abcdef1' })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'commitHash' }] },
    });
    expect(await lab.artifacts.select({ commitHash: 'ABCDEF12' })).toMatchObject({ commitHash: commitOf('abcdef12') });
    await expect(lab.artifacts.select({ commitHash: 'abcdef' })).rejects.toMatchObject({ code: 'artifact-not-found' });
  });
});
