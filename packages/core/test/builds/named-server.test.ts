import { describe, expect, it } from 'vitest';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { kernelBuild, repositories } from '../support/requests.ts';

async function lab(): Promise<{ lab: MemoryLab; x86: string; arm: string; full: string }> {
  const made = await memoryLab({ repositories });
  const gcc = (targetArchitecture: 'x86_64' | 'arm64') => ({ targetArchitecture });
  const x86 = await made.addServer({ machine: { toolchains: [gcc('x86_64')] } });
  const arm = await made.addServer({ machine: { toolchains: [gcc('arm64')], memoryMb: 4_096 } });
  const full = await made.addServer({ machine: { toolchains: [gcc('x86_64'), gcc('arm64')] } });
  return { lab: made, x86: x86.id, arm: arm.id, full: full.id };
}

describe('a build for a named server', () => {
  it('R3.3, R3.4, E-toolchain: is refused when the compiler is missing there; the error names what is installed and who has it', async () => {
    const { lab: made, x86, arm, full } = await lab();
    await using _made = made;
    const refused = made.builds.submitBuild({ ...kernelBuild, targetArchitecture: 'arm64', serverId: x86 });
    await expect(refused).rejects.toMatchObject({
      code: 'toolchain-missing',
      message: expect.stringContaining('These have it: build2, build3'),
      details: {
        architecture: 'arm64',
        installed: ['gcc 12.2.0 for x86_64'],
        alternatives: [{ name: 'build2' }, { name: 'build3' }].map((server) => expect.objectContaining(server)),
      },
    });
    const clang = made.builds.submitBuild({ ...kernelBuild, requiredToolchain: 'clang', serverId: full });
    await expect(clang).rejects.toMatchObject({ code: 'toolchain-missing', details: { alternatives: [] } });
    expect(await made.builds.getBuildHistory({ serverId: arm })).toEqual([]);
  });

  it('R3.3: is refused when the server is too small for it, naming what is short', async () => {
    const { lab: made, arm } = await lab();
    await using _made = made;
    const request = { ...kernelBuild, targetArchitecture: 'arm64' as const, serverId: arm, minMemoryMb: 8_192 };
    await expect(made.builds.submitBuild(request)).rejects.toMatchObject({
      code: 'insufficient-resources',
      details: { unmet: [{ requirement: 'minMemoryMb', wanted: 8_192, best: 4_096 }] },
    });
  });

  it('R3.3: waits for that server when it is busy, though another one is free', async () => {
    const { lab: made } = await lab();
    await using _made = made;
    const busy = await made.addServer({ maxConcurrentBuilds: 1 });
    const request = { ...kernelBuild, serverId: busy.id };
    const first = await made.builds.submitBuild(request);
    const second = await made.builds.submitBuild(request);
    await made.clock.settle();
    expect((await made.builds.getBuildStatus(second.id)).status).toBe('queued');
    const done = await made.clock.runUntil(Promise.all([first, second].map(({ id }) => made.builds.waitForBuild(id))));
    expect(done.map(({ serverId, status }) => [serverId, status])).toEqual([
      [busy.id, 'completed'],
      [busy.id, 'completed'],
    ]);
  });

  it('fails at once for a server that does not exist', async () => {
    const { lab: made } = await lab();
    await using _made = made;
    await expect(made.builds.submitBuild({ ...kernelBuild, serverId: 'nobody' })).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});
