import { describe, expect, it } from 'vitest';
import { type ArtifactSelection } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { headCommit, kernelBuild, repositories } from '../support/requests.ts';

async function* bytes(text: string): AsyncIterable<Uint8Array> {
  yield Buffer.from(text);
}

const initrd = { type: 'initrd', filename: 'images/initrd.cpio', architecture: 'x86_64' } as const;

async function built(): Promise<{ lab: MemoryLab; buildId: string }> {
  const lab = await memoryLab({ repositories });
  await lab.addServer();
  const { id } = await lab.builds.submitBuild({ ...kernelBuild, branch: 'main' });
  await lab.clock.runUntil(lab.builds.waitForBuild(id));
  return { lab, buildId: id };
}

describe('the artifact repository', () => {
  it('gives back what was stored, by its id', async () => {
    await using lab = await memoryLab();
    const stored = await lab.artifacts.storeArtifact(initrd, bytes('cpio'), { metadata: { made: 'by hand' } });
    expect(await lab.artifacts.getArtifact(stored.id)).toEqual(stored);
    expect(stored).toMatchObject({ filename: 'images/initrd.cpio', sizeBytes: 4, metadata: { made: 'by hand' } });
    expect((await lab.artifacts.readAll(stored)).toString()).toBe('cpio');
  });

  it.each(['/etc/passwd', '../up', 'a/../b', 'a//b', '.', 'a\\b', 'new\nline', ''])(
    'refuses the filename %j',
    async (filename) => {
      await using lab = await memoryLab();
      await expect(lab.artifacts.storeArtifact({ ...initrd, filename }, bytes('x'))).rejects.toMatchObject({
        code: 'invalid-input',
      });
    },
  );

  it('never serves bytes that no longer have their checksum, and says so once asked', async () => {
    await using lab = await memoryLab();
    const stored = await lab.artifacts.storeArtifact(initrd, bytes('cpio'));
    expect(await lab.artifacts.verifyArtifactIntegrity(stored.id)).toBe(true);
    lab.storage.corrupt(stored.checksumSha256);
    expect(await lab.artifacts.verifyArtifactIntegrity(stored.id)).toBe(false);
    await expect(lab.artifacts.readAll(stored)).rejects.toMatchObject({ code: 'artifact-corrupted' });
    const names: string[] = [];
    for await (const { name } of lab.events.read()) names.push(name);
    expect(names.slice(0, 3)).toEqual(['artifact:stored', 'artifact:corrupted', 'alert:raised']);
  });

  it.each([
    { commitHash: 'feedfeed' },
    { branch: 'nowhere' },
    { branch: 'main', architecture: 'arm64' },
    { branch: 'main', sourceRepository: 'https://git.example/other.git' },
  ] satisfies ArtifactSelection[])('finds no build for %o, and suggests those there are', async (selection) => {
    const { lab, buildId } = await built();
    await using _lab = lab;
    await expect(lab.artifacts.select(selection)).rejects.toMatchObject({
      code: 'artifact-not-found',
      details: { suggestions: [buildId] },
    });
  });

  it('wants to be told which build', async () => {
    await using lab = await memoryLab();
    await expect(lab.artifacts.select({})).rejects.toMatchObject({ code: 'invalid-input' });
  });

  it('forgets a build, but keeps bytes that another has too', async () => {
    const { lab, buildId } = await built();
    await using _lab = lab;
    const again = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(again.id));
    await lab.artifacts.deleteArtifacts(buildId);
    expect(await lab.artifacts.getArtifactsByBuild(buildId)).toEqual([]);
    const { buildId: latest, artifacts } = await lab.artifacts.select({ commitHash: headCommit });
    expect(latest).toBe(again.id);
    for (const artifact of artifacts) expect(await lab.artifacts.verifyArtifactIntegrity(artifact.id)).toBe(true);
    await lab.artifacts.deleteArtifacts(again.id);
    const left: string[] = [];
    for await (const { sha256 } of lab.storage.list()) left.push(sha256);
    expect(left).toEqual([]);
  });
});
