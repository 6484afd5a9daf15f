import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { architectures, type CapacityRequest } from '@bringup/core';
import { boardTypeTrait, peripheralTrait } from '../../src/pool/kinds/board.ts';
import { toolchainTrait } from '../../src/pool/kinds/build-server.ts';
import { labelTrait } from '../../src/pool/kind.ts';
import { release, reserve } from '../../src/pool/reservations.ts';
import { boardRequest, buildRequest, vmRequest } from '../../src/selection/requests.ts';
import type { SelectionOutcome } from '../../src/selection/outcome.ts';
import { testPool, type Given, type TestPool } from '../support/pool.ts';

const runs = { numRuns: 100 };
const architecture = fc.constantFrom(...architectures);
const someArchitectures = fc.uniqueArray(architecture, { minLength: 1 });
const peripherals = fc.uniqueArray(fc.constantFrom('can', 'wifi', 'camera'));
const labels = fc.dictionary(fc.constantFrom('rack', 'team'), fc.constantFrom('a', 'b'), { maxKeys: 2 });
const toolchain = fc.constantFrom('gcc', 'clang');
const size = {
  slots: fc.integer({ min: 1, max: 3 }),
  cpuCores: fc.integer({ min: 1, max: 16 }),
  memoryMb: fc.integer({ min: 1, max: 32 }).map((n) => n * 512),
  storageGb: fc.integer({ min: 1, max: 1000 }).map((n) => n / 7),
};

const server = fc
  .record({ architectures: someArchitectures, compilers: fc.uniqueArray(toolchain, { minLength: 1 }), labels, ...size })
  .map(({ compilers, ...rest }): Omit<Given, 'name'> => ({
    ...rest,
    kind: 'build_server',
    traits: compilers.flatMap((name) => rest.architectures.map((target) => toolchainTrait(name, target))),
  }));
const host = fc
  .record({ architectures: someArchitectures, kvm: fc.boolean(), labels, ...size })
  .map(({ kvm, ...rest }): Omit<Given, 'name'> => ({ ...rest, kind: 'host', traits: kvm ? ['kvm'] : [] }));
const board = fc
  .record({ architecture, type: fc.constantFrom('rpi4', 'beagle'), peripherals, labels })
  .map((it): Omit<Given, 'name'> => ({
    kind: 'board',
    architectures: [it.architecture],
    labels: it.labels,
    slots: 1,
    traits: [boardTypeTrait(it.type), ...it.peripherals.map(peripheralTrait)],
  }));
/** A host that serves arm64 and other architectures, and how many VMs run on it. */
const usedHost = fc.record({
  count: fc.integer({ min: 0, max: 3 }),
  others: fc.subarray(architectures.filter((one) => one !== 'arm64')),
});
const some = (resource: fc.Arbitrary<Omit<Given, 'name'>>): fc.Arbitrary<Given[]> =>
  fc.array(resource, { maxLength: 6 }).map((all) => all.map((one, index) => ({ ...one, name: `r${index}` })));

async function withPool<T>(given: readonly Given[], act: (pool: TestPool, ids: string[]) => Promise<T>): Promise<T> {
  await using pool = await testPool();
  const ids: string[] = [];
  for (const one of given) ids.push(await pool.add(one));
  return await act(pool, ids);
}

/** What is wrong with a resource, by an independent reading of the request. */
function unmet(given: Given, request: CapacityRequest): string[] {
  const traits = new Set([
    ...(given.traits ?? []),
    ...Object.entries(given.labels ?? {}).map(([key, value]) => labelTrait(key, value)),
  ]);
  const totals = {
    cpuCores: given.cpuCores ?? 8,
    memoryMb: given.memoryMb ?? 8192,
    storageGb: given.storageGb ?? 100,
    slots: given.slots ?? 4,
  };
  return [
    ...(given.architectures.includes(request.architecture) ? [] : ['architecture']),
    ...request.traits
      .filter((group) => !group.some(({ trait }) => traits.has(trait)))
      .map((group) => group[0]?.requirement ?? ''),
    ...(totals.cpuCores < Math.max(request.use.cpu, request.minimum.cpu) ? ['cpuCores'] : []),
    ...(totals.memoryMb < Math.max(request.use.memoryMb, request.minimum.memoryMb) ? ['memoryMb'] : []),
    ...(totals.storageGb < Math.max(request.use.storageGb, request.minimum.storageGb) ? ['storageGb'] : []),
    ...(totals.slots < request.use.slots ? ['slots'] : []),
  ];
}

/** The chosen one meets the request, or nothing does and everything unmet is named. */
function expectRight(
  outcome: SelectionOutcome,
  given: readonly Given[],
  ids: readonly string[],
  request: CapacityRequest,
): void {
  if (outcome.success) {
    const chosen =
      given[ids.indexOf(outcome.reservation.resourceId)] ?? expect.fail('chose something that is not in the pool');
    expect(unmet(chosen, request)).toEqual([]);
    return;
  }
  expect(outcome.temporary).toBe(false);
  for (const [index, one] of given.entries()) {
    const rejection = outcome.rejections.find(({ resourceId }) => resourceId === ids[index]);
    expect(rejection?.reasons.map(({ requirement }) => requirement).sort()).toEqual(unmet(one, request).sort());
    expect(unmet(one, request)).not.toEqual([]);
  }
}

describe('selection', () => {
  it('P2: gives a build to a server with a compiler for its architecture, or names what each server lacks', () =>
    fc.assert(
      fc.asyncProperty(
        some(server),
        fc.record(
          {
            targetArchitecture: architecture,
            requiredToolchain: toolchain,
            requiredLabels: labels,
            minMemoryMb: fc.integer({ min: 0, max: 8192 }),
          },
          { requiredKeys: ['targetArchitecture'] },
        ),
        (given, requirements) =>
          withPool(given, async ({ selection }, ids) => {
            const request = buildRequest(requirements);
            expectRight(await selection.reserve(request, 'somebody'), given, ids, request);
          }),
      ),
      runs,
    ));

  it('P11: gives a VM to a host that meets all of its requirements', () =>
    fc.assert(
      fc.asyncProperty(
        some(host),
        fc.record(
          {
            architecture,
            minCpuCores: fc.integer({ min: 1, max: 16 }),
            minMemoryMb: fc.integer({ min: 1, max: 16_384 }),
            minStorageGb: fc.integer({ min: 0, max: 100 }),
            requireKvm: fc.boolean(),
            requiredLabels: labels,
          },
          { requiredKeys: ['architecture'] },
        ),
        (given, requirements) =>
          withPool(given, async ({ selection }, ids) => {
            const request = vmRequest(requirements);
            expectRight(await selection.reserve(request, 'somebody'), given, ids, request);
          }),
      ),
      runs,
    ));

  it('P14: gives a job to a board of the architecture and a type asked for, with all peripherals', () =>
    fc.assert(
      fc.asyncProperty(
        some(board),
        fc.record(
          {
            architecture,
            boardTypes: fc.subarray(['rpi4', 'beagle']),
            requiredPeripherals: peripherals,
            requiredLabels: labels,
          },
          { requiredKeys: ['architecture'] },
        ),
        (given, requirements) =>
          withPool(given, async ({ selection }, ids) => {
            const request = boardRequest(requirements);
            expectRight(await selection.reserve(request, 'somebody'), given, ids, request);
          }),
      ),
      runs,
    ));

  it('P17: prefers the less utilized of those that fit; among equals the order of ids decides', () =>
    fc.assert(
      fc.asyncProperty(fc.array(usedHost, { minLength: 1, maxLength: 8 }), (hosts) => {
        const used = hosts.map(({ count }) => count);
        const given = hosts.map(({ others }, index): Given => ({
          kind: 'host',
          name: `h${index}`,
          architectures: [...others, 'arm64'],
          slots: 5,
        }));
        return withPool(given, async ({ selection }, ids) => {
          const one = (only?: string) =>
            vmRequest({
              architecture: 'arm64',
              minMemoryMb: 1,
              minCpuCores: 1,
              ...(only !== undefined && { hostId: only }),
            });
          for (const [index, count] of used.entries())
            for (let at = 0; at < count; at += 1) await selection.reserve(one(ids[index]), 'x');
          const expected = ids
            .map((id, index) => ({ id, count: used[index] ?? 0 }))
            .sort((a, b) => a.count - b.count || (a.id < b.id ? -1 : 1))
            .map(({ id }) => id);
          expect((await selection.candidates(one())).map(({ resourceId }) => resourceId)).toEqual(expected);
          const outcome = await selection.reserve(one(), 'me');
          expect(outcome).toMatchObject({ success: true, chosen: { resourceId: expected[0] } });
        });
      }),
      runs,
    ));

  it('P20: shows what is reserved until it is released, and not a crumb longer', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.integer({ min: 1, max: 40 }).map((n) => n / 10),
          { minLength: 1, maxLength: 6 },
        ),
        (amounts) =>
          withPool(
            [{ kind: 'host', name: 'h', architectures: ['arm64'], slots: 10, cpuCores: 64, storageGb: 1000 }],
            async ({ selection, store, pool }, [id = '']) => {
              const held: string[] = [];
              for (const minStorageGb of amounts) {
                const outcome = await selection.reserve(
                  vmRequest({ architecture: 'arm64', minMemoryMb: 1, minStorageGb }),
                  'me',
                );
                if (outcome.success) held.push(outcome.reservation.id);
              }
              const row = await pool('host').row(id);
              expect(row.slots_used).toBe(amounts.length);
              expect(row.storage_gb_used).toBeCloseTo(
                amounts.reduce((sum, amount) => sum + amount, 0),
                9,
              );
              for (const reservation of held) await store.transaction((tx) => release(tx, reservation));
              expect(await pool('host').row(id)).toMatchObject({
                slots_used: 0,
                cpu_used: 0,
                memory_mb_used: 0,
                storage_gb_used: 0,
              });
            },
          ),
      ),
      runs,
    ));

  it('P18: gives nothing new to a resource in maintenance, and says so', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }), (inMaintenance) =>
        withPool(
          inMaintenance.map((_m, index): Given => ({
            kind: 'board',
            name: `b${index}`,
            architectures: ['armv7'],
            slots: 1,
          })),
          async ({ selection, pool }, ids) => {
            for (const [index, on] of inMaintenance.entries()) await pool('board').setMaintenance(ids[index] ?? '', on);
            const outcome = await selection.reserve(boardRequest({ architecture: 'armv7' }), 'me');
            expect(outcome.success).toBe(inMaintenance.includes(false));
            if (outcome.success) expect(inMaintenance[ids.indexOf(outcome.reservation.resourceId)]).toBe(false);
            else
              expect([
                outcome.temporary,
                ...outcome.rejections.flatMap(({ reasons }) => reasons.map(({ requirement }) => requirement)),
              ]).toEqual([true, ...inMaintenance.map(() => 'maintenance')]);
          },
        ),
      ),
      runs,
    ));

  it('P19: lets no resource in use be decommissioned without force', () =>
    fc.assert(
      fc.asyncProperty(fc.boolean(), fc.boolean(), (inUse, force) =>
        withPool(
          [{ kind: 'board', name: 'b', architectures: ['armv7'], slots: 1 }],
          async ({ selection, pool }, [id = '']) => {
            if (inUse) await selection.reserve(boardRequest({ architecture: 'armv7' }), 'test run 7');
            const removing = pool('board').remove(id, { force });
            if (inUse && !force)
              await expect(removing).rejects.toMatchObject({ code: 'conflict', details: { holders: ['test run 7'] } });
            else await removing;
            expect((await pool('board').list()).length).toBe(inUse && !force ? 1 : 0);
          },
        ),
      ),
      runs,
    ));
});

describe('a resource that just went into maintenance or offline', () => {
  const host: Given = { kind: 'host', name: 'h', architectures: ['arm64'] };
  const wanted = vmRequest({ architecture: 'arm64' });

  it.each([{ maintenance: 1 }, { status: 'offline' }])('%o is not granted to whoever chose it before', (change) =>
    withPool([host], async ({ store, clock }, [resourceId = '']) => {
      const grant = () =>
        store.transaction((tx) =>
          reserve(tx, wanted, { id: `r${clock.now()}`, resourceId, holder: 'x', now: clock.now() }),
        );
      expect(await grant()).toBeDefined();
      await clock.advance(1);
      await store.transaction(({ db }) =>
        db.updateTable('resources').set(change).where('id', '=', resourceId).execute(),
      );
      expect(await grant()).toBeUndefined();
    }),
  );

  it('is no candidate any more', () =>
    withPool([host], async ({ selection, pool }, [id = '']) => {
      expect((await selection.candidates(wanted)).map(({ resourceId }) => resourceId)).toEqual([id]);
      await pool('host').setMaintenance(id, true);
      expect(await selection.candidates(wanted)).toEqual([]);
    }));
});

describe('a wish', () => {
  const given: Given[] = ['a', 'b'].map((name) => ({ kind: 'host', name, architectures: ['arm64'], slots: 1 }));

  it('for a resource is met when it fits, and passed over when it does not', () =>
    withPool(given, async ({ selection }, [, second = '']) => {
      const wanted = vmRequest({ architecture: 'arm64', preferredHostId: second });
      expect(await selection.reserve(wanted, 'x')).toMatchObject({ chosen: { resourceId: second } });
      expect(await selection.reserve(wanted, 'x')).toMatchObject({ success: true });
    }));

  it('for one and no other waits for it, and fails when it can never be met', () =>
    withPool(given, async ({ selection }, [, second = '']) => {
      const wanted = vmRequest({ architecture: 'arm64', hostId: second });
      expect(await selection.reserve(wanted, 'x')).toMatchObject({ chosen: { resourceId: second } });
      expect(await selection.reserve(wanted, 'x')).toMatchObject({ success: false, temporary: true });
      expect(await selection.reserve(vmRequest({ architecture: 'arm64', hostId: 'none' }), 'x')).toMatchObject({
        success: false,
        temporary: false,
      });
    }));

  it('is worth waiting for however many idle resources there are that can never meet it', () => {
    const many = Array.from({ length: 120 }, (_, index): Given => ({
      kind: 'host',
      name: `idle${index}`,
      architectures: ['x86_64'],
    }));
    return withPool(
      [...many, { kind: 'host', name: 'busy', architectures: ['arm64'], slots: 1 }],
      async ({ selection }) => {
        const wanted = vmRequest({ architecture: 'arm64' });
        expect((await selection.reserve(wanted, 'x')).success).toBe(true);
        expect(await selection.reserve(wanted, 'x')).toMatchObject({ success: false, temporary: true });
      },
    );
  });
});
