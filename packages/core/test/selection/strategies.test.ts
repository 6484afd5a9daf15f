import fc from 'fast-check';
import { assert, describe, expect, it } from 'vitest';
import type { SelectionStrategy } from '@bringup/core';
import { vmRequest } from '../../src/selection/requests.ts';
import { testPool, type Given } from '../support/pool.ts';

const hosts = (count: number): Given[] =>
  Array.from({ length: count }, (_, index) => ({
    kind: 'host',
    name: `h${index}`,
    architectures: ['arm64'],
    labels: { rack: `r${index}` },
  }));
const wanted = vmRequest({ architecture: 'arm64', minMemoryMb: 1 });

async function poolOf(given: readonly Given[], strategies: readonly SelectionStrategy[]) {
  const pool = await testPool(strategies);
  const ids: string[] = [];
  for (const one of given) ids.push(await pool.add(one));
  return { ...pool, ids };
}

describe('a strategy', () => {
  it('has its say by its weight, and the score shows it as a part', async () => {
    const last: SelectionStrategy = {
      name: 'last-rack',
      weight: 3,
      score: ({ labels }) => (labels['rack'] === 'r2' ? 100 : 0),
    };
    await using pool = await poolOf(hosts(3), [last]);
    const [best, second] = await pool.selection.candidates(wanted);
    expect(best).toMatchObject({ resourceId: pool.ids[2], parts: { 'last-rack': 100, idle: 100 }, score: 100 });
    expect(second).toMatchObject({ parts: { 'last-rack': 0, idle: 100 }, score: 25 });
  });

  it('can refuse a resource, and is named with its reason; others are taken however many it refuses', async () => {
    const picky: SelectionStrategy = {
      name: 'picky',
      kinds: ['host'],
      filter: ({ name }) =>
        name === 'h99' ? undefined : { requirement: 'picky', wanted: 'h99', message: `${name} is not to my taste` },
    };
    await using pool = await poolOf(hosts(100), [picky]);
    expect(await pool.selection.reserve(wanted, 'x')).toMatchObject({ success: true, chosen: { name: 'h99' } });
    const named = { ...wanted, only: pool.ids[0] ?? '' };
    expect(await pool.selection.reserve(named, 'x')).toMatchObject({
      success: false,
      rejections: [{ reasons: [{ requirement: 'picky', message: 'h0 is not to my taste' }] }],
    });
  });

  it('is asked about waiting requests, too', async () => {
    let refuses = true;
    const moody: SelectionStrategy = {
      name: 'moody',
      filter: () => (refuses ? { requirement: 'mood', wanted: 'good', message: 'not now' } : undefined),
    };
    await using pool = await poolOf(hosts(1), [moody]);
    const waiting = pool.reservations.request(wanted, { holder: 'x' });
    await pool.clock.advance(10_000);
    expect(await pool.reservations.listWaiting()).toHaveLength(1);
    refuses = false;
    for (const on of [true, false]) await pool.pool('host').setMaintenance(pool.ids[0] ?? '', on);
    expect(await pool.clock.runUntil(waiting)).toMatchObject({ resourceId: pool.ids[0] });
  });

  it('that throws does no harm: a filter passes the resource over and is named, a score counts nothing', async () => {
    const broken: SelectionStrategy = {
      name: 'broken',
      filter: ({ name }) => {
        if (name === 'h0') throw new Error('boom');
        return undefined;
      },
      score: () => Number.NaN,
    };
    await using pool = await poolOf(hosts(2), [broken]);
    expect(await pool.selection.reserve(wanted, 'x')).toMatchObject({
      success: true,
      chosen: { name: 'h1', parts: { broken: 0 } },
    });
    expect(await pool.selection.reserve({ ...wanted, only: pool.ids[0] ?? '' }, 'x')).toMatchObject({
      rejections: [{ reasons: [{ requirement: 'strategy:broken', message: 'the strategy broken failed: boom' }] }],
    });
  });

  it('R13.4, P17: whatever it scores, equals go by their ids, and every score lies between 0 and 100', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(-5, 0, 50, 100, 1_000), { minLength: 2, maxLength: 5 }),
        async (points) => {
          const given: SelectionStrategy = { name: 'given', score: ({ name }) => points[Number(name.slice(1))] ?? 0 };
          await using pool = await poolOf(hosts(points.length), [given]);
          const candidates = await pool.selection.candidates(wanted);
          for (const [index, { score, resourceId }] of candidates.entries()) {
            assert.isAtLeast(score, 0);
            assert.isAtMost(score, 100);
            const next = candidates[index + 1];
            if (next !== undefined) {
              assert.isTrue(score > next.score || (score === next.score && resourceId < next.resourceId));
            }
          }
        },
      ),
      { numRuns: 100 },
    ));
});
