import { describe, expect, it } from 'vitest';
import { memoryLab } from '@bringup/core/testing';
import { learnBuildTime } from '../../src/selection/build-times.ts';
import { buildRequest, vmRequest } from '../../src/selection/requests.ts';
import { boardTypeTrait, flashableTrait } from '../../src/pool/kinds/board.ts';
import { recordFirmware } from '../../src/pool/firmware.ts';
import { selectionService } from '../../src/selection/services.ts';
import { testPool, type TestPool } from '../support/pool.ts';
import { kernelUrl } from '../support/requests.ts';

const vm = { architecture: 'x86_64' as const, minCpuCores: 4 };

describe('choosing a host', () => {
  it('R11.1, R13.2: offers hosts with what they have free, those that can be had now first', async () => {
    await using lab = await memoryLab();
    const busy = await lab.addHost({ machine: { cpuCores: 4 } });
    const free = await lab.addHost({ machine: { cpuCores: 8 } });
    await lab.selection.hosts.reserveResources(busy.id, vm, { holder: 'me', expectedMs: 60_000 });
    expect(await lab.selection.hosts.getCompatibleHosts(vm)).toMatchObject([
      { resource: { id: free.id }, available: true, capacity: { cpuCores: 8 }, estimatedWaitTime: 0 },
      {
        resource: { id: busy.id },
        available: false,
        capacity: { cpuCores: 0 },
        reasons: [{ requirement: 'cpuCores', wanted: 4, best: 0 }],
        estimatedWaitTime: 60,
      },
    ]);
  });

  it('R11.3, R13.4: takes the less loaded by itself; a look reserves nothing', async () => {
    await using lab = await memoryLab();
    const [one, two] = [await lab.addHost(), await lab.addHost()];
    await lab.selection.hosts.reserveResources(one.id, vm, { holder: 'me' });
    const look = await lab.selection.hosts.selectHost(vm);
    expect(look).toMatchObject({ success: true, host: { id: two.id }, alternatives: [{ resourceId: one.id }] });
    expect(look.reservationId).toBeUndefined();
    expect((await lab.hosts.getHostStatus(two.id)).currentUtilization).toBe(0);
    const taken = await lab.selection.hosts.selectHost(vm, { holder: 'me' });
    expect(taken).toMatchObject({ success: true, host: { id: two.id, currentUtilization: 0.5 } });
    await lab.selection.hosts.releaseResources(taken.reservationId ?? '');
    expect((await lab.hosts.getHostStatus(two.id)).currentUtilization).toBe(0);
  });

  it('R11.4, E-host-full: a named host that is full is warned of, with others that have room', async () => {
    await using lab = await memoryLab();
    const full = await lab.addHost({ machine: { cpuCores: 4 } });
    const other = await lab.addHost();
    await lab.selection.hosts.reserveResources(full.id, vm, { holder: 'me', expectedMs: 30_000 });
    const result = await lab.selection.hosts.selectHost({ ...vm, hostId: full.id });
    expect(result).toMatchObject({
      success: false,
      alternatives: [{ resourceId: other.id }],
      estimatedWaitTime: 30,
      unmet: [{ requirement: 'cpuCores', wanted: 4, best: 0 }],
    });
    expect(result.errorMessage).toContain('take another: host2 has room');
    expect(result.errorMessage).toContain('wait for it, about 30 s');
  });

  it('R11.4: a named host in maintenance is warned of, with others', async () => {
    await using lab = await memoryLab();
    const [away, other] = [await lab.addHost(), await lab.addHost()];
    await lab.hosts.setMaintenanceMode(away.id, true);
    expect(await lab.selection.hosts.selectHost({ ...vm, hostId: away.id })).toMatchObject({
      success: false,
      unmet: [{ requirement: 'maintenance' }],
      alternatives: [{ resourceId: other.id }],
    });
  });

  it('E-no-match, E-requirements: what nothing meets is named, with the best there is and what to change', async () => {
    await using lab = await memoryLab();
    await lab.addHost({ machine: { cpuCores: 8 } });
    await lab.addHost({ machine: { cpuCores: 16 } });
    const result = await lab.selection.hosts.selectHost({ architecture: 'x86_64', minCpuCores: 32 });
    expect(result).toMatchObject({ success: false, unmet: [{ requirement: 'cpuCores', wanted: 32, best: 16 }] });
    expect(result.suggestions).toEqual([
      'the nearest is host2, which lacks only cpuCores',
      'ask for at most 16 cpuCores, not 32',
    ]);
    const request = vmRequest({ architecture: 'x86_64', requiredLabels: { rack: 'b' } });
    await expect(lab.reservations.request(request, { holder: 'me' })).rejects.toMatchObject({
      code: 'no-match',
      details: { unmet: [{ requirement: 'label:rack', wanted: 'b' }], suggestions: expect.any(Array) },
    });
  });
});

describe('choosing a build server', () => {
  async function servers() {
    const pool = await testPool();
    const add = (name: string) => pool.add({ kind: 'build_server', name, architectures: ['arm64'], slots: 2 });
    const [slow, quick] = [await add('slow'), await add('quick')];
    await pool.store.transaction(async (tx) => {
      const key = { repository: kernelUrl, architecture: 'arm64' as const };
      await learnBuildTime(tx, { ...key, serverId: slow }, 1_000, 0);
      await learnBuildTime(tx, { ...key, serverId: quick }, 100, 0);
    });
    return { ...pool, slow, quick };
  }

  it('R3.2, R13.1: weighs how long the build will take against how loaded the servers are', async () => {
    await using pool = await servers();
    const request = buildRequest({ targetArchitecture: 'arm64', sourceRepository: kernelUrl });
    const taken: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      const outcome = await pool.selection.reserve(request, 'me');
      taken.push(outcome.success ? outcome.chosen.name : 'none');
    }
    expect(taken).toEqual(['quick', 'quick', 'slow']);
    const [best] = await pool.selection.candidates(request);
    expect(best?.parts).toMatchObject({ idle: 50, buildTime: 100 });
  });

  it('R3.2, R13.1: takes only servers with a compiler for the architecture, and tells the expected time', async () => {
    await using lab = await memoryLab();
    await lab.addServer({ machine: { toolchains: [{ targetArchitecture: 'x86_64' }] } });
    const arm = await lab.addServer({ machine: { toolchains: [{ targetArchitecture: 'arm64' }] } });
    const { buildServers } = lab.selection;
    expect(await buildServers.selectServer({ targetArchitecture: 'arm64' })).toMatchObject({ server: { id: arm.id } });
    const none = await buildServers.selectServer({ targetArchitecture: 'riscv64' });
    expect(none).toMatchObject({ success: false, unmet: [{ requirement: 'architecture', wanted: 'riscv64' }] });
    expect(await buildServers.estimateBuildTime({ repository: kernelUrl, architecture: 'arm64' })).toBeUndefined();
    expect(await buildServers.calculateServerScore(arm.id, { targetArchitecture: 'arm64' })).toMatchObject({
      score: 100,
      parts: { idle: 100 },
    });
  });

  it('R3.3, R3.4: says of a named server what it lacks, and which others would do', async () => {
    await using lab = await memoryLab();
    const x86 = await lab.addServer({ machine: { toolchains: [{ targetArchitecture: 'x86_64' }] } });
    const arm = await lab.addServer({ machine: { toolchains: [{ targetArchitecture: 'arm64' }] } });
    const wanted = { targetArchitecture: 'arm64' as const };
    expect(await lab.selection.buildServers.reserveCapacity(x86.id, wanted, { holder: 'me' })).toMatchObject({
      success: false,
      unmet: [{ requirement: 'architecture' }],
      alternatives: [{ resourceId: arm.id }],
    });
    const taken = await lab.selection.buildServers.reserveCapacity(arm.id, wanted, { holder: 'me' });
    expect((await lab.buildServers.getServerStatus(arm.id)).activeBuildCount).toBe(1);
    await lab.selection.buildServers.releaseCapacity(taken.reservationId ?? '');
    expect((await lab.buildServers.getServerStatus(arm.id)).activeBuildCount).toBe(0);
  });
});

describe('choosing a board', () => {
  const wanted = { architecture: 'arm64' as const, boardTypes: ['rpi4'] };
  const add = (pool: TestPool, name: string, type: string, traits: readonly string[] = []) =>
    pool.add({ kind: 'board', name, architectures: ['arm64'], slots: 1, traits: [boardTypeTrait(type), ...traits] });
  const boardsOf = (pool: TestPool) => {
    const views = pool.pool('board') as never;
    return selectionService(pool, { board: views, host: views, buildServer: views }).boards;
  };

  it('R11.2, R13.3: offers boards of the architecture and type alone', async () => {
    await using pool = await testPool();
    const pi = await add(pool, 'pi', 'rpi4');
    await add(pool, 'bone', 'beagle');
    const offered = await boardsOf(pool).getCompatibleBoards(wanted);
    expect(offered.map(({ resourceId }) => resourceId)).toEqual([pi]);
  });

  it('E-board-busy: says when a board in use is expected back, and offers to wait for it', async () => {
    await using pool = await testPool();
    const pi = await add(pool, 'pi', 'rpi4');
    const boards = boardsOf(pool);
    const taken = await boards.reserveBoard(pi, wanted, { holder: 'test run 7', expectedMs: 90_000 });
    expect(taken).toMatchObject({ success: true, requiresFlashing: false });
    const busy = await boards.selectBoard({ ...wanted, boardId: pi });
    expect(busy).toMatchObject({ success: false, estimatedWaitTime: 90, alternatives: [] });
    expect(busy.suggestions).toEqual([expect.stringContaining('wait for it, about 90 s')]);
    await boards.releaseBoard(taken.reservationId ?? '');
    expect(await boards.selectBoard({ ...wanted, boardId: pi })).toMatchObject({ success: true });
  });

  it('R13.3: prefers one with the firmware, else one that can be flashed, and never one that can not', async () => {
    await using pool = await testPool();
    await add(pool, 'fixed', 'rpi4');
    const [flashed, flashable] = [
      await add(pool, 'flashed', 'rpi4', [flashableTrait]),
      await add(pool, 'flashable', 'rpi4', [flashableTrait]),
    ];
    await pool.store.transaction((tx) =>
      recordFirmware(tx, flashed, { version: '2.0', flashId: 'flash', flashedAt: 1 }),
    );
    const boards = boardsOf(pool);
    const select = () => boards.selectBoard({ ...wanted, firmwareVersion: '2.0' }, { holder: 'me' });
    expect(await select()).toMatchObject({ board: { id: flashed }, requiresFlashing: false });
    expect(await select()).toMatchObject({ board: { id: flashable }, requiresFlashing: true });
    expect(await select()).toMatchObject({ success: false });
  });
});
