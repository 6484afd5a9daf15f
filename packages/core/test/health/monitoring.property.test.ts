import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits, roles, vmRequest } from '@bringup/core';
import { memoryLab } from '@bringup/core/testing';
import { alertsOf, second, statusesOf, unplug } from './looking.ts';

const numRuns = 100;
const seed = 20;

/** How a machine stops answering: the network says no, or nobody says anything. */
const failure = fc.constantFrom('refused', 'silent');
const labSeed = fc.integer({ min: 1, max: 1_000_000 });
const timeoutMs = 240_000;

describe('any resource', () => {
  it(
    'P3: a build server with less than 10 GB free warns, and takes no new builds where that is wanted',
    () =>
      fc.assert(
        fc.asyncProperty(labSeed, fc.double({ min: 0, max: 20, noNaN: true }), fc.boolean(), async (lot, gb, block) => {
          await using lab = await memoryLab({ roles, seed: lot });
          const storageGb = Math.round(gb * 10) / 10;
          await lab.health.setHealthThresholds({ kind: 'build_server' }, { blockOnLowStorage: block });
          const { id } = await lab.addServer({ machine: { storageGb } });
          await lab.clock.advance(8 * second);
          const low = storageGb < 10;
          expect((await lab.buildServers.getServerStatus(id)).blockedBy).toEqual(low && block ? ['disk'] : []);
          expect((await alertsOf(lab, id)).map(({ type }) => type)).toEqual(low ? ['resources-low'] : []);
        }),
        { numRuns, seed },
      ),
    timeoutMs,
  );

  it(
    'P9: a host above 85 % of anything gets no new VM',
    () => {
      const percent = fc.integer({ min: 0, max: 100 });
      const load = fc.record({ cpuPercent: percent, memoryPercent: percent, storage: percent });
      return fc.assert(
        fc.asyncProperty(labSeed, load, async (lot, { cpuPercent, memoryPercent, storage }) => {
          await using lab = await memoryLab({ roles, seed: lot });
          const machine = { cpuPercent, memoryPercent, storageGb: 1000 - 10 * storage, storageUsedGb: 10 * storage };
          const { id } = await lab.addHost({ machine });
          await lab.clock.advance(8 * second);
          const full = Math.max(cpuPercent, memoryPercent, storage) > limits.healthMaxUtilizationPercent;
          expect((await lab.hosts.getHostStatus(id)).blockedBy).toEqual(full ? ['utilization'] : []);
          const wanted = vmRequest({ architecture: 'x86_64', minCpuCores: 1, minMemoryMb: 64, minStorageGb: 0 });
          expect((await lab.selection.reserve(wanted, 'somebody')).success).toBe(!full);
        }),
        { numRuns, seed },
      );
    },
    timeoutMs,
  );

  it(
    'P10, P23: one that becomes unreachable is offline within one monitoring interval, with an alert within 30 s',
    () =>
      fc.assert(
        fc.asyncProperty(
          labSeed,
          fc.integer({ min: 0, max: 20_000 }),
          failure,
          fc.constantFrom('server', 'host', 'board'),
          async (lot, afterMs, how, kind) => {
            await using lab = await memoryLab({ roles, seed: lot });
            const [name, { id }] =
              kind === 'server'
                ? ['build1', await lab.addServer()]
                : kind === 'host'
                  ? ['host1', await lab.addHost()]
                  : ['board1', await lab.addBoard({ without: ['power'] })];
            await lab.clock.advance(7 * second + afterMs);
            if (how === 'refused') unplug(lab, name);
            else lab.shell.host(name).faults.hang = true;
            const from = lab.clock.now();
            await lab.clock.advance(limits.healthIntervalMs);
            expect(await statusesOf(lab, id)).toEqual(['offline']);
            const [alert] = await alertsOf(lab, id);
            expect(alert).toMatchObject({ type: 'unreachable' });
            expect((alert?.raisedAt ?? Number.POSITIVE_INFINITY) - from).toBeLessThanOrEqual(30 * second);
          },
        ),
        { numRuns, seed },
      ),
    timeoutMs,
  );

  it(
    'P13: an unreachable board with power control has its power cycled',
    () =>
      fc.assert(
        fc.asyncProperty(labSeed, failure, fc.integer({ min: 0, max: 10_000 }), async (lot, how, afterMs) => {
          await using lab = await memoryLab({ roles, seed: lot });
          const { id } = await lab.addBoard();
          await lab.clock.advance(3 * second + afterMs);
          const { outlet } = lab.board('board1');
          const switched: string[] = [];
          if (how === 'refused') unplug(lab, 'board1');
          else lab.shell.host('board1').faults.hang = true;
          for (let time = 0; time < 60; time += 1) {
            await lab.clock.advance(second / 2);
            if (switched.at(-1) !== outlet.actual) switched.push(outlet.actual);
          }
          expect((await statusesOf(lab, id)).slice(0, 2)).toEqual(['offline', 'recovery']);
          expect(switched.slice(0, 3)).toEqual(['on', 'off', 'on']);
        }),
        { numRuns, seed },
      ),
    timeoutMs,
  );
});
