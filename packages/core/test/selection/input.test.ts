import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBringupError } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { vmRequest } from '../../src/selection/requests.ts';

const request = vmRequest({ architecture: 'x86_64' });

/** Calls with an input that no type allows, and the fields the error must name. */
const calls: readonly (readonly [string, (lab: MemoryLab, input: never) => Promise<unknown>, object, string[]])[] = [
  [
    'selectHost',
    ({ selection }, input) => selection.hosts.selectHost(input),
    { architecture: 'vax', minCpuCores: 0, minMemoryMb: Number.NaN, requireKvm: 'yes', kvm: true },
    ['architecture', 'minCpuCores', 'minMemoryMb', 'requireKvm', 'kvm'],
  ],
  [
    'selectHost’s options',
    ({ selection }, input) => selection.hosts.selectHost({ architecture: 'x86_64' }, input),
    { holder: '', priority: 1.5, expectedMs: -1 },
    ['holder', 'priority', 'expectedMs'],
  ],
  [
    'getCompatibleHosts',
    ({ selection }, input) => selection.hosts.getCompatibleHosts(input),
    { requiredLabels: { rack: 4 }, minStorageGb: -1 },
    ['architecture', 'requiredLabels.rack', 'minStorageGb'],
  ],
  [
    'calculateHostScore',
    ({ selection }, input) => selection.hosts.calculateHostScore(input, { architecture: 'x86_64' }),
    {},
    ['id'],
  ],
  [
    'reserveResources',
    ({ selection }, input) => selection.hosts.reserveResources('h', { architecture: 'x86_64' }, input),
    {},
    ['holder'],
  ],
  ['releaseResources', ({ selection }, input) => selection.hosts.releaseResources(input), {}, ['id']],
  [
    'selectServer',
    ({ selection }, input) => selection.buildServers.selectServer(input),
    { architecture: 'arm64', requiredToolchain: 'tcc', recipe: 'cargo', preferredServerId: 7 },
    ['targetArchitecture', 'requiredToolchain', 'recipe', 'preferredServerId', 'architecture'],
  ],
  [
    'estimateBuildTime',
    ({ selection }, input) => selection.buildServers.estimateBuildTime(input),
    { architecture: 'arm' },
    ['repository', 'architecture'],
  ],
  [
    'selectBoard',
    ({ selection }, input) => selection.boards.selectBoard(input),
    { architecture: 'arm64', boardTypes: 'rpi', requiredPeripherals: ['i2c', ''], team: null },
    ['boardTypes', 'requiredPeripherals.1', 'team'],
  ],
  [
    'candidates',
    ({ selection }, input) => selection.candidates(input),
    { ...request, kind: 'vm', traits: [[]], use: { slots: 1, cpu: -1, memoryMb: 0 } },
    ['kind', 'traits.0', 'use.cpu', 'use.storageGb'],
  ],
  ['reserve', ({ selection }, input) => selection.reserve(request, input), {}, ['holder']],
  [
    'a request',
    ({ reservations }, input) => reservations.request(input, { holder: 'me' }),
    { ...request, architecture: 'pdp11', minimum: 4, exclude: 'h1' },
    ['architecture', 'minimum', 'exclude'],
  ],
  [
    'a request’s options',
    ({ reservations }, input) => reservations.request(request, input),
    { leaseMs: 0, id: '', timeoutMs: 'soon', signal: {} },
    ['holder', 'leaseMs', 'id', 'timeoutMs', 'signal'],
  ],
  ['a renewal', ({ reservations }, input) => reservations.renew('r', input), { leaseMs: 'long' }, ['leaseMs']],
  ['a listing', ({ reservations }, input) => reservations.list(input), { limit: 0.5, holder: 3 }, ['limit', 'holder']],
  [
    'a listing of who waits',
    ({ reservations }, input) => reservations.listWaiting(input),
    { kind: 'vm', after: 3 },
    ['kind', 'after'],
  ],
];

const issuesOf = async (call: () => Promise<unknown>): Promise<string[]> => {
  try {
    await call();
    return [];
  } catch (error) {
    if (!isBringupError(error, 'invalid-input')) throw error;
    return (error.details['issues'] as { readonly path: string }[]).map(({ path }) => path);
  }
};

describe('what selection and reservations are given', () => {
  it.each(calls)('E-invalid: is checked field by field: %s', async (_name, call, input, fields) => {
    await using lab = await memoryLab();
    await lab.addHost();
    expect((await issuesOf(() => call(lab, input as never))).toSorted()).toEqual(fields.toSorted());
    expect(await lab.reservations.list()).toEqual([]);
    expect(await lab.reservations.listWaiting()).toEqual([]);
  });

  it('E-invalid: whatever it is, it is refused as invalid or answered, and never breaks the store', async () => {
    await using lab = await memoryLab();
    await lab.addHost();
    const field = fc.constantFrom('architecture', 'minCpuCores', 'minMemoryMb', 'requiredLabels', 'hostId', 'team');
    const inputs = fc.oneof(fc.anything(), fc.dictionary(field, fc.anything()));
    await fc.assert(
      fc.asyncProperty(inputs, async (input) => {
        const good = { architecture: 'x86_64', ...(input as object) } as never;
        await issuesOf(() => lab.selection.hosts.selectHost(good));
        await issuesOf(() => lab.selection.hosts.getCompatibleHosts(input as never));
        await issuesOf(() => lab.selection.candidates(input as never));
      }),
      // What can't be made a string, for one.
      { numRuns: 200, examples: [[{ architecture: { toString: '' } }]] },
    );
  });
});
