import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { limits, localShell, type Deployment } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { tidyFilesScript } from '../../src/deployments/host-files.ts';
import { withLimits } from '../support/limits.ts';
import { kernelBuild, repositories } from '../support/requests.ts';

const sweep = limits.orphanSweepMs + 2 * limits.heartbeatMs;
const workspace = '/work';

async function deploy(lab: MemoryLab, keepMs: number): Promise<Deployment> {
  const { id: buildId } = await lab.builds.submitBuild(kernelBuild);
  await lab.clock.runUntil(lab.builds.waitForBuild(buildId));
  const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId }, keepMs });
  return lab.clock.runUntil(lab.deployments.waitForDeployment(id));
}

describe('files that were deployed to a host', () => {
  it('are removed once nobody has used them for long, and not before', () =>
    withLimits({ hostFilesKeepMs: 2 * sweep }, async () => {
      await using lab = await memoryLab({ repositories });
      await lab.addServer();
      await lab.addHost({ workspace });
      const files = (): readonly string[] => lab.shell.host('host1').fs.list(`${workspace}/files`);
      const { id, buildId } = await deploy(lab, 100 * sweep);
      const [kernel = ''] = files();
      expect(files()).toHaveLength(1);
      // What lies there of a lab that is no more, or of an upload that nobody goes on with.
      lab.shell.host('host1').fs.writeFile(`${workspace}/files/.bringup-4711.part`, 'half');
      await lab.clock.advance(2 * sweep);
      expect(files()).toHaveLength(2);
      // A VM that is kept can be booted again, whatever becomes of the artifacts.
      await lab.artifacts.deleteArtifacts(buildId ?? '', { force: true });
      await lab.clock.advance(4 * sweep);
      expect(files()).toEqual([kernel]);
      await lab.clock.runUntil(lab.deployments.releaseDeployment(id));
      await lab.clock.advance(sweep);
      expect(files()).toEqual([kernel]);
      await lab.clock.advance(4 * sweep);
      expect(files()).toEqual([]);
    }));

  it('are told apart by a real shell as well', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-files-'));
    const age = async (name: string, minutes: number): Promise<void> => {
      await writeFile(join(folder, name), '');
      const at = Date.now() / 1_000 - minutes * 60;
      await utimes(join(folder, name), at, at);
    };
    await age('used', 500);
    await age('old', 500);
    await age('young', 5);
    await age('.bringup-1.part', 3 * 1_440);
    await age('.bringup-2.part', 5);
    await using shell = localShell();
    await using session = await shell.connect({ hostname: 'localhost', username: 'nobody' });
    const tidy = (...rest: readonly string[]) => session.exec(['sh', '-c', tidyFilesScript, 'tidy', ...rest]);
    expect(await tidy(folder, '10000', 'used', 'missing')).toMatchObject({ exitCode: 0 });
    expect((await readdir(folder)).toSorted()).toEqual(['.bringup-2.part', 'old', 'used', 'young']);
    await tidy(folder, '60');
    expect((await readdir(folder)).toSorted()).toEqual(['.bringup-2.part', 'used', 'young']);
    expect(await tidy(join(folder, 'none'), '60')).toMatchObject({ exitCode: 0 });
    await rm(folder, { recursive: true });
  });
});
