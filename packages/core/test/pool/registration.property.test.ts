import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { labArbitraries, memoryLab } from '@bringup/core/testing';

const { server, host, board } = labArbitraries(fc);
const runs = { numRuns: 100 };

describe('registering whatever is valid and answers', () => {
  it(
    'P1, R1.1, R1.2, R1.3: puts a build server into the pool with what it was found to have',
    () =>
      fc.assert(
        fc.asyncProperty(server, async (given) => {
          await using lab = await memoryLab();
          const { machine, ...registration } = given;
          const added = await lab.addServer(given);
          const found = machine?.toolchains?.map(({ targetArchitecture }) => targetArchitecture) ?? [];
          expect(added).toMatchObject({
            ...registration,
            status: 'online',
            totalCpuCores: machine?.cpuCores,
            totalMemoryMb: machine?.memoryMb,
            totalStorageGb: machine?.storageGb,
            supportedArchitectures: registration.supportedArchitectures ?? found,
            maxConcurrentBuilds: registration.maxConcurrentBuilds ?? 4,
            labels: registration.labels ?? {},
            activeBuildCount: 0,
            currentUtilization: 0,
          });
          expect(added.toolchains).toEqual(
            machine?.toolchains?.map(({ targetArchitecture, version }) => ({
              name: 'gcc',
              version,
              targetArchitecture,
              path: expect.stringMatching(/^\/usr\/bin\/(\S+-)?gcc$/) as unknown,
              triplet: expect.stringContaining('linux') as unknown,
              available: true,
            })),
          );
          expect(await lab.buildServers.getAllServers()).toEqual([added]);
          expect(await lab.buildServers.getServerStatus(added.id)).toEqual(added);
        }),
        runs,
      ),
    120_000,
  );

  it(
    'P8, R7.1, R7.3, R7.5: puts a host into the pool with what it and its hypervisor were found to have',
    () =>
      fc.assert(
        fc.asyncProperty(host, async (given) => {
          await using lab = await memoryLab();
          const { machine, capabilities, ...registration } = given;
          const added = await lab.addHost(given);
          expect(added).toMatchObject({
            ...registration,
            status: 'online',
            architecture: machine?.architecture,
            vmArchitectures: capabilities?.architectures,
            kvmEnabled: capabilities?.kvm,
            nestedVirtEnabled: capabilities?.nestedVirt,
            totalCpuCores: machine?.cpuCores,
            totalMemoryMb: machine?.memoryMb,
            totalStorageGb: machine?.storageGb,
            maxVms: registration.maxVms ?? 10,
            labels: registration.labels ?? {},
            runningVmCount: 0,
          });
          expect(await lab.hosts.getAllHosts()).toEqual([added]);
          expect(await lab.hosts.getHostStatus(added.id)).toEqual(added);
        }),
        runs,
      ),
    120_000,
  );

  it(
    'P12, R8.1, R8.3: puts a board into the pool with its hardware facts',
    () =>
      fc.assert(
        fc.asyncProperty(board, async (given) => {
          await using lab = await memoryLab();
          const { machine, ...registration } = given;
          const added = await lab.addBoard(given);
          expect(added).toMatchObject({
            ...registration,
            status: 'available',
            architecture: machine?.architecture,
            peripherals: registration.peripherals ?? [],
            labels: registration.labels ?? {},
          });
          expect(await lab.boards.getAllBoards()).toEqual([added]);
          expect(await lab.boards.getBoardStatus(added.id)).toEqual(added);
        }),
        runs,
      ),
    120_000,
  );
});
