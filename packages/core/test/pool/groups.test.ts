import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits, sqlite, type BringupError, type Clock } from '@bringup/core';
import { fakeClock, memoryLab, seededRandom, type MemoryLab } from '@bringup/core/testing';
import { AlertService } from '../../src/alerts/service.ts';
import { ResourceGroupService } from '../../src/pool/groups.ts';
import { Policies } from '../../src/pool/policies.ts';
import { tendPolicies } from '../../src/pool/policy-upkeep.ts';
import { vmRequest } from '../../src/selection/requests.ts';
import { SharedChore } from '../../src/store/chores.ts';
import { Store } from '../../src/store/store.ts';
import { testPool } from '../support/pool.ts';
import { kernelBuild, repositories } from '../support/requests.ts';

const forgetting = (store: Store, clock: Clock): SharedChore =>
  new SharedChore({ store, clock, name: 'forget policy decisions', periodMs: limits.policySweepMs });

const hostRequest = { architecture: 'x86_64', minCpuCores: 1, minMemoryMb: 0, minStorageGb: 0 } as const;

/** A lab with `count` hosts labelled `farm=a`. */
async function farm(count: number): Promise<{ lab: MemoryLab; ids: string[] }> {
  const lab = await memoryLab({ repositories });
  const ids: string[] = [];
  for (let i = 0; i < count; i += 1) ids.push((await lab.addHost({ labels: { farm: 'a' }, maxVms: 4 })).id);
  return { lab, ids };
}

const select = (lab: MemoryLab, more: object = {}) =>
  lab.selection.hosts.selectHost({ ...hostRequest, ...more }, { holder: 'somebody' });

describe('groups', () => {
  it('R14.1: have members by label and by list, of one kind, kept up to date', async () => {
    const { lab, ids } = await farm(2);
    await using _lab = lab;
    const other = await lab.addHost();
    const group = await lab.groups.createGroup({
      name: 'farm',
      resourceType: 'host',
      labels: { farm: 'a' },
      memberIds: [other.id],
    });
    expect(group.memberIds).toEqual([...ids, other.id].toSorted());
    expect((await lab.hosts.getHostStatus(other.id)).groupId).toBe(group.id);
    await lab.hosts.updateHost(ids[0] ?? '', { labels: {} });
    expect((await lab.groups.getGroup(group.id)).memberIds).toEqual([ids[1] ?? '', other.id].toSorted());
    const late = await lab.addHost({ labels: { farm: 'a' } });
    expect((await lab.groups.removeMember(group.id, other.id)).memberIds).toEqual([ids[1] ?? '', late.id].toSorted());
    await lab.groups.deleteGroup(group.id);
    expect((await lab.hosts.getHostStatus(late.id)).groupId).toBeUndefined();
    expect(await lab.groups.listGroups()).toEqual([]);
  });

  it('R14.3: are validated, one issue per field', async () => {
    const { lab } = await farm(1);
    await using _lab = lab;
    const board = await lab.addBoard();
    const wrong = lab.groups.createGroup({ name: 'g', resourceType: 'host', memberIds: [board.id, 'nobody'] });
    await expect(wrong).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'memberIds.0' }, { path: 'memberIds.1' }] },
    });
    const policy = { maxVmsPerHost: 1, maxConcurrentAllocations: 0 };
    const failed = await lab.groups
      .createGroup({ name: '-', resourceType: 'board', allocationPolicy: policy })
      .catch((error: unknown) => error as BringupError);
    const issues = (failed as BringupError).details['issues'] as { path: string }[];
    expect(issues.map(({ path }) => path)).toEqual([
      'name',
      'allocationPolicy.maxConcurrentAllocations',
      'allocationPolicy.maxVmsPerHost',
    ]);
    await lab.groups.createGroup({ name: 'one', resourceType: 'host' });
    await expect(lab.groups.createGroup({ name: 'one', resourceType: 'host' })).rejects.toMatchObject({
      code: 'conflict',
    });
    await expect(lab.groups.getGroup('nobody')).rejects.toMatchObject({ code: 'not-found' });
  });

  it(
    'R14.3, R14.5, P22: have statistics that are the sum over their members',
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ cpuCores: fc.integer({ min: 1, max: 64 }), vms: fc.nat(2), grouped: fc.boolean() }), {
            minLength: 1,
            maxLength: 4,
          }),
          async (hosts) => {
            await using lab = await memoryLab();
            const ids: string[] = [];
            for (const { cpuCores } of hosts) ids.push((await lab.addHost({ machine: { cpuCores }, maxVms: 4 })).id);
            const memberIds = ids.filter((_id, index) => hosts[index]?.grouped);
            const { id } = await lab.groups.createGroup({ name: 'some', resourceType: 'host', memberIds });
            for (const [index, { vms }] of hosts.entries()) {
              for (let i = 0; i < vms; i += 1) await select(lab, { hostId: ids[index] });
            }
            const members = await Promise.all(memberIds.map((member) => lab.hosts.getHostStatus(member)));
            const total = (of: (host: (typeof members)[number]) => number): number =>
              members.reduce((sum, host) => sum + of(host), 0);
            const statistics = await lab.groups.getGroupStatistics(id);
            expect(statistics).toMatchObject({
              members: members.length,
              available: members.length,
              capacity: { slots: total((h) => h.maxVms), cpuCores: total((h) => h.totalCpuCores) },
              used: { slots: total((h) => h.runningVmCount) },
              utilization: members.length === 0 ? 0 : total((h) => h.runningVmCount) / total((h) => h.maxVms),
            });
            expect(statistics.workload.map(({ resourceId }) => resourceId).toSorted()).toEqual(memberIds.toSorted());
          },
        ),
        { numRuns: 100 },
      ),
    180_000,
  );
});

describe('policies', () => {
  it(
    'R14.2, P21: are enforced in whatever order allocations come and go',
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.record({ most: fc.integer({ min: 1, max: 5 }), perHost: fc.integer({ min: 1, max: 3 }) }),
          fc.array(
            fc.oneof(
              fc.constantFrom<['take', string | undefined]>(['take', 'red'], ['take', 'blue'], ['take', undefined]),
              fc.nat(9).map((which): ['give', number] => ['give', which]),
            ),
            { maxLength: 10 },
          ),
          async ({ most, perHost }, steps) => {
            const { lab } = await farm(2);
            await using _lab = lab;
            await lab.groups.createGroup({
              name: 'red',
              resourceType: 'host',
              labels: { farm: 'a' },
              allocationPolicy: { maxConcurrentAllocations: most, maxVmsPerHost: perHost, reservedForTeams: ['red'] },
            });
            const held: string[] = [];
            for (const [what, argument] of steps) {
              if (what === 'give') {
                const [id] = held.splice(argument % Math.max(1, held.length), 1);
                if (id !== undefined) await lab.reservations.release(id);
                continue;
              }
              const result = await select(lab, argument === undefined ? {} : { team: argument });
              expect(result.success).toBe(argument === 'red' && held.length < Math.min(most, 2 * perHost));
              if (result.success && result.reservationId !== undefined) held.push(result.reservationId);
            }
            for (const { runningVmCount } of await lab.hosts.getAllHosts())
              expect(runningVmCount).toBeLessThanOrEqual(perHost);
          },
        ),
        { numRuns: 100 },
      ),
    180_000,
  );

  it('R14.2: who waits for one host of a full group gets it as soon as another host of the group is given back', async () => {
    const { lab, ids } = await farm(2);
    await using _lab = lab;
    const allocationPolicy = { maxConcurrentAllocations: 1 };
    await lab.groups.createGroup({ name: 'g', resourceType: 'host', labels: { farm: 'a' }, allocationPolicy });
    const [held = '', wanted = ''] = ids;
    const request = (only: string) => vmRequest({ ...hostRequest, hostId: only });
    const first = await lab.reservations.request(request(held), { holder: 'first' });
    const second = lab.reservations.request(request(wanted), { holder: 'second' });
    second.catch(() => undefined);
    await expect.poll(() => lab.reservations.listWaiting()).toHaveLength(1);
    await lab.reservations.release(first.id);
    // No time has passed: nobody had to look after the waiting list.
    expect(await lab.reservations.list()).toMatchObject([{ resourceId: wanted, holder: 'second' }]);
    await second;
  });

  it('E-policy: a build for a team that may not fails at once; the error names the policy and whom to ask', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer({ labels: { farm: 'a' } });
    const allocationPolicy = { reservedForTeams: ['red'] };
    await lab.groups.createGroup({
      name: 'reds',
      resourceType: 'build_server',
      labels: { farm: 'a' },
      allocationPolicy,
    });
    const build = await lab.builds.submitBuild(kernelBuild);
    const { status, error } = await lab.clock.runUntil(lab.builds.waitForBuild(build.id));
    expect([status, error?.code]).toEqual(['failed', 'policy-violation']);
    expect(error?.message).toContain('reservedForTeams of group reds: it is reserved for red');
  });

  it('R14.2, E-policy: wants an approval, tells of it, and lets in once it is given, until it expires', async () => {
    const { lab } = await farm(1);
    await using _lab = lab;
    const allocationPolicy = { requireApproval: true };
    const group = await lab.groups.createGroup({
      name: 'g',
      resourceType: 'host',
      labels: { farm: 'a' },
      allocationPolicy,
    });
    expect((await select(lab)).success).toBe(false);
    expect((await select(lab, { requester: 'ann' })).success).toBe(false);
    expect((await select(lab, { requester: 'ann' })).success).toBe(false);
    const [wanted, ...more] = await lab.groups.getApprovals({ groupId: group.id });
    expect(more).toEqual([]);
    expect(wanted).toMatchObject({ requester: 'ann', state: 'wanted' });
    const names = [];
    for await (const { name } of lab.events.read()) names.push(name);
    expect(names).toEqual(expect.arrayContaining(['approval:wanted', 'alert:raised']));
    await lab.groups.approve(wanted?.id ?? '', 'bob', { durationMs: 1_000 });
    expect((await select(lab, { requester: 'ann' })).success).toBe(true);
    expect((await select(lab, { requester: 'eve' })).success).toBe(false);
    await lab.clock.advance(1_001);
    expect((await select(lab, { requester: 'ann' })).success).toBe(false);
    await expect(lab.groups.approve(wanted?.id ?? '', 'bob')).rejects.toMatchObject({ code: 'conflict' });
    const [again] = await lab.groups.getApprovals();
    await lab.groups.deny(again?.id ?? '', 'bob', { reason: 'not today' });
    expect((await select(lab, { requester: 'ann' })).success).toBe(false);
  });

  it('R14.2: an approval that nobody decided on in time, or whose group is gone, is wanted no more', async () => {
    await using pool = await testPool();
    const { store, clock } = pool;
    const parts = { store, clock, random: seededRandom(1) };
    const [groups, alerts, policies] = [
      new ResourceGroupService(parts),
      new AlertService(parts),
      new Policies(clock, parts.random),
    ];
    const host = await pool.add({ kind: 'host', name: 'h', architectures: ['x86_64'] });
    const allocationPolicy = { requireApproval: true };
    const group = await groups.createGroup({ name: 'g', resourceType: 'host', memberIds: [host], allocationPolicy });
    const ask = () =>
      store.transaction(async (tx) => {
        const row = await tx.db.selectFrom('resources').selectAll().where('id', '=', host).executeTakeFirstOrThrow();
        return policies.admit(tx, { ...vmRequest({ architecture: 'x86_64' }), requester: 'ann' }, row);
      });
    const states = async (): Promise<unknown[]> =>
      (await alerts.list({ type: 'approval-wanted' })).map(({ state, resolution }) => resolution ?? state);
    await ask();
    await clock.advance(limits.approvalWantedMs - 1);
    await tendPolicies(store, clock, forgetting(store, clock));
    expect(await states()).toEqual(['open']);
    await clock.advance(1);
    await tendPolicies(store, clock, forgetting(store, clock));
    expect(await states()).toEqual(['nobody decided on it in time']);
    await ask();
    expect(await states()).toEqual(['open', 'nobody decided on it in time']);
    await groups.deleteGroup(group.id);
    expect(await states()).toEqual(['the group was deleted', 'nobody decided on it in time']);
  });

  it('R14.4: the group of the highest priority decides what it states, the next one the rest; each decision is logged', async () => {
    const { lab, ids } = await farm(1);
    await using _lab = lab;
    const base = { resourceType: 'host', memberIds: ids } as const;
    const low = await lab.groups.createGroup({
      ...base,
      name: 'low',
      allocationPolicy: { maxConcurrentAllocations: 3, reservedForTeams: ['red'] },
    });
    const high = await lab.groups.createGroup({
      ...base,
      name: 'high',
      priority: 10,
      allocationPolicy: { maxConcurrentAllocations: 1 },
    });
    expect((await lab.hosts.getHostStatus(ids[0] ?? '')).groupId).toBe(high.id);
    expect((await select(lab, { team: 'red' })).success).toBe(true);
    expect((await select(lab, { team: 'red' })).success).toBe(false);
    expect((await select(lab, { team: 'blue' })).success).toBe(false);
    const decided = await lab.groups.getPolicyDecisions();
    expect(decided.map(({ groupId, policy, team, allowed }) => [groupId, policy, team, allowed])).toEqual([
      [low.id, 'reservedForTeams', 'red', true],
      [high.id, 'maxConcurrentAllocations', 'red', true],
      [low.id, 'reservedForTeams', 'red', true],
      [high.id, 'maxConcurrentAllocations', 'red', false],
      [low.id, 'reservedForTeams', 'blue', false],
    ]);
    expect(await lab.groups.getPolicyDecisions({ groupId: high.id })).toHaveLength(2);
  });
});

describe('what policies decided', () => {
  const decision = { group_id: 'g', policy: 'requireApproval', resource_id: 'r', requester: null, team: null };

  async function decided(store: Store, count: number, at: number): Promise<void> {
    const rows = Array.from({ length: count }, () => ({ ...decision, at, allowed: 1, reason: `at ${at}` }));
    for (let from = 0; from < count; from += 1_000) {
      await store.db
        .insertInto('policy_decisions')
        .values(rows.slice(from, from + 1_000))
        .execute();
    }
  }
  const reasons = (store: Store): Promise<{ reason: string; count: number }[]> =>
    store.db
      .selectFrom('policy_decisions')
      .select(({ fn }) => ['reason', fn.countAll<number>().as('count')])
      .groupBy(['at', 'reason'])
      .orderBy('at')
      .execute();

  it('R14.4: is forgotten when it is old, and when it is too much, by one process at a time', async () => {
    const clock = fakeClock(0);
    await using store = await Store.open(sqlite(), clock);
    await tendPolicies(store, clock, forgetting(store, clock));
    await decided(store, limits.policySweepRows + 1, 0);
    await decided(store, 2, 1_000);
    await clock.advance(limits.policyDecisionKeepMs);
    await tendPolicies(store, clock, forgetting(store, clock));
    expect(await reasons(store)).toEqual([{ reason: 'at 1000', count: 2 }]);
    await decided(store, limits.policyDecisionsKept + 5, clock.now());
    await clock.advance(limits.policySweepMs - 1);
    await tendPolicies(store, clock, forgetting(store, clock));
    expect(await reasons(store)).toHaveLength(2);
    await clock.advance(1);
    await Promise.all([
      tendPolicies(store, clock, forgetting(store, clock)),
      tendPolicies(store, clock, forgetting(store, clock)),
    ]);
    expect(await reasons(store)).toMatchObject([{ count: limits.policyDecisionsKept }]);
  });
});

describe('work of a team', () => {
  it('R14.2: may use the servers that are reserved for it, by itself and in a pipeline; others wait elsewhere', async () => {
    await using lab = await memoryLab({ repositories });
    const server = await lab.addServer();
    await lab.groups.createGroup({
      name: 'kernel-team',
      resourceType: 'build_server',
      memberIds: [server.id],
      allocationPolicy: { reservedForTeams: ['kernel'] },
    });
    const { id } = await lab.builds.submitBuild({ ...kernelBuild, team: 'kernel', requester: 'ada' });
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({
      status: 'completed',
      serverId: server.id,
    });
    const stranger = await lab.builds.submitBuild({ ...kernelBuild, team: 'userspace' });
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(stranger.id))).toMatchObject({ status: 'failed' });
  });
});
