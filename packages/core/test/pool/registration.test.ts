import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BringupError, architectures } from '@bringup/core';
import { memoryLab } from '@bringup/core/testing';

describe('registering a build server', () => {
  it('P1: puts it into the pool with the cores, memory, disk and compilers it was found to have', () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          cpuCores: fc.integer({ min: 1, max: 256 }),
          memoryMb: fc.integer({ min: 512, max: 1 << 20 }),
          storageGb: fc.integer({ min: 1, max: 10_000 }),
          targets: fc.uniqueArray(fc.constantFrom(...architectures), { minLength: 1 }),
        }),
        async ({ targets, ...sizes }) => {
          await using lab = await memoryLab();
          const machine = {
            ...sizes,
            toolchains: targets.map((targetArchitecture) => ({ targetArchitecture, version: '13.1.0' })),
          };
          const added = await lab.addServer({ machine, labels: { rack: 'a' } });
          expect(added).toMatchObject({
            status: 'online',
            totalCpuCores: sizes.cpuCores,
            totalMemoryMb: sizes.memoryMb,
            totalStorageGb: sizes.storageGb,
            supportedArchitectures: targets,
            labels: { rack: 'a' },
            activeBuildCount: 0,
            maxConcurrentBuilds: 4,
          });
          expect(
            added.toolchains.map(({ name, version, targetArchitecture }) => [name, version, targetArchitecture]),
          ).toEqual(targets.map((target) => ['gcc', '13.1.0', target]));
          expect(await lab.buildServers.getServerStatus(added.id)).toEqual(added);
        },
      ),
      { numRuns: 100 },
    ));

  it('names one issue for each field that is wrong', async () => {
    await using lab = await memoryLab();
    const wrong = lab.buildServers.registerServer({
      hostname: '-bad-',
      sshPort: 0,
      ipAddress: 'nowhere',
      maxConcurrentBuilds: 1.5,
      workspace: 'relative',
    });
    await expect(wrong).rejects.toMatchObject({
      code: 'invalid-input',
      details: {
        issues: ['hostname', 'ipAddress', 'sshPort', 'maxConcurrentBuilds', 'workspace'].map((path) => ({ path })),
      },
    });
  });

  it.each([
    ['connection-failed', (f) => void (f.refuseConnection = true)],
    ['authentication-failed', (f) => void (f.rejectAuthentication = true)],
    ['host-key-changed', (f) => void (f.failConnection = new BringupError('host-key-changed', 'not the key we know'))],
  ] satisfies [
    string,
    (faults: {
      refuseConnection: boolean;
      rejectAuthentication: boolean;
      failConnection: BringupError | undefined;
    }) => void,
  ][])('fails with %s, and leaves nothing in the pool', async (code, breakIt) => {
    await using lab = await memoryLab();
    breakIt(lab.shell.host('build1').faults);
    await expect(lab.addServer({ hostname: 'build1' })).rejects.toMatchObject({ code });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });

  it('fails when a compiler that was promised is missing, naming it and those that are there', async () => {
    await using lab = await memoryLab();
    const machine = { toolchains: [{ targetArchitecture: 'x86_64' as const }] };
    await expect(lab.addServer({ machine, supportedArchitectures: ['x86_64', 'riscv64'] })).rejects.toMatchObject({
      code: 'toolchain-missing',
      details: { missing: ['riscv64'], installed: ['gcc 12.2.0 for x86_64'] },
    });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });

  it('refuses a name that is taken, even when both come at once', async () => {
    await using lab = await memoryLab();
    const both = await Promise.allSettled([lab.addServer({ hostname: 'one' }), lab.addServer({ hostname: 'one' })]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(lab.addServer({ hostname: 'one' })).rejects.toMatchObject({ code: 'conflict' });
  });

  it('can be tried without adding anything', async () => {
    await using lab = await memoryLab();
    await lab.buildServers.validateServerConnectivity({ hostname: 'build1' });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });
});

describe('registering a host', () => {
  it('P8: puts it into the pool with what its hypervisor can do', async () => {
    await using lab = await memoryLab();
    const host = await lab.addHost({
      machine: { cpuCores: 32, memoryMb: 65_536 },
      capabilities: { kvm: true, architectures: ['x86_64', 'riscv64'] },
    });
    expect(host).toMatchObject({
      architecture: 'x86_64',
      vmArchitectures: ['x86_64', 'riscv64'],
      kvmEnabled: true,
      nestedVirtEnabled: false,
      totalCpuCores: 32,
      totalMemoryMb: 65_536,
    });
  });

  it('fails when the hypervisor does, and leaves nothing in the pool', async () => {
    await using lab = await memoryLab();
    lab.hypervisor.failNext('connect', new BringupError('dependency-missing', 'no libvirt there'));
    await expect(lab.addHost()).rejects.toMatchObject({ code: 'dependency-missing' });
    expect(await lab.hosts.getAllHosts()).toEqual([]);
  });
});

describe('registering a board', () => {
  it('P12: puts it into the pool with the architecture it was found to have', async () => {
    await using lab = await memoryLab();
    const board = await lab.addBoard({ machine: { architecture: 'armv7' }, peripherals: ['can'] });
    expect(board).toMatchObject({ name: 'board1', architecture: 'armv7', peripherals: ['can'], status: 'available' });
  });

  it('fails when it is not what it was said to be', async () => {
    await using lab = await memoryLab();
    await expect(lab.addBoard({ machine: { architecture: 'armv7' }, architecture: 'arm64' })).rejects.toMatchObject({
      code: 'architecture-mismatch',
      details: { claimed: 'arm64', detected: 'armv7' },
    });
    expect(await lab.boards.getAllBoards()).toEqual([]);
  });
});
