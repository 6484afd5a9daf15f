import { sql, type Selectable } from 'kysely';
import { raiseAlert } from '../alerts/raise.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { AllocationPolicy } from '../model/group.ts';
import type { UnmetRequirement } from '../model/requirements.ts';
import { newId } from '../runtime.ts';
import type { GroupRow } from '../store/schema/groups.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { Admission, AdmissionCandidate } from './admission.ts';
import type { CapacityRequest } from './reservations.ts';

type Group = Pick<Selectable<GroupRow>, 'id' | 'name'> & { readonly policy: AllocationPolicy };

/** What one policy says of one request. */
interface Verdict {
  readonly allowed: boolean;
  readonly reason: string;
  /** No waiting helps: the request has to change. */
  readonly final?: boolean;
}

type Judge = (context: {
  readonly tx: StoreTransaction;
  readonly group: Group;
  readonly request: CapacityRequest;
  readonly candidate: AdmissionCandidate;
}) => Promise<Verdict>;

/**
 * What groups decide over their members. Each thing a policy can state is decided by the group of the highest priority
 * that states it. A resource in no group costs nothing. Each decision is logged.
 */
export class Policies implements Admission {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #judges: readonly (readonly [keyof AllocationPolicy, Judge])[] = [
    ['reservedForTeams', (context) => this.#team(context)],
    ['maxVmsPerHost', (context) => this.#vms(context)],
    ['maxConcurrentAllocations', (context) => this.#concurrent(context)],
    ['requireApproval', (context) => this.#approval(context)],
  ];

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  async admit(
    tx: StoreTransaction,
    request: CapacityRequest,
    candidate: AdmissionCandidate,
  ): Promise<UnmetRequirement | undefined> {
    if (candidate.group_id === null) return undefined;
    const groups = await groupsOf(tx, candidate.id);
    for (const [policy, judge] of this.#judges) {
      const group = groups.find((one) => one.policy[policy] !== undefined);
      if (group === undefined) continue;
      const verdict = await judge({ tx, group, request, candidate });
      await this.#log(tx, group, policy, candidate, request, verdict);
      if (verdict.allowed) continue;
      return {
        requirement: `policy:${policy}`,
        wanted: request.requester ?? request.team ?? 'anybody',
        message: `${policy} of group ${group.name}: ${verdict.reason}`,
        ...(verdict.final === true && { final: true }),
      };
    }
    return undefined;
  }

  async boost({ db }: StoreTransaction, { groupId }: CapacityRequest): Promise<number> {
    if (groupId === undefined) return 0;
    const row = await db.selectFrom('groups').select('policy').where('id', '=', groupId).executeTakeFirst();
    return row === undefined ? 0 : ((JSON.parse(row.policy) as AllocationPolicy).priorityBoost ?? 0);
  }

  readonly #team: Judge = async ({ group, request: { team } }) => {
    const teams = group.policy.reservedForTeams ?? [];
    if (teams.length === 0) return { allowed: true, reason: 'it is for all teams' };
    if (team !== undefined && teams.includes(team)) return { allowed: true, reason: `it is for team ${team}` };
    return { allowed: false, final: true, reason: `it is reserved for ${teams.join(', ')}; ask one of these teams` };
  };

  readonly #vms: Judge = async ({ group, candidate, request }) => {
    const most = group.policy.maxVmsPerHost ?? Number.POSITIVE_INFINITY;
    const after = candidate.slots_used + request.use.slots;
    return after <= most
      ? { allowed: true, reason: `${after} of ${most} VMs` }
      : { allowed: false, reason: `${candidate.slots_used} of ${most} VMs run on it` };
  };

  readonly #concurrent: Judge = async ({ tx, group, request }) => {
    const most = group.policy.maxConcurrentAllocations ?? Number.POSITIVE_INFINITY;
    // Whoever counts takes its turn: on an engine with many writers nobody else counts meanwhile.
    await tx.db
      .updateTable('groups')
      .set((eb) => ({ turn: eb('turn', '+', 1) }))
      .where('id', '=', group.id)
      .execute();
    const { held } = await tx.db
      .selectFrom('reservations')
      .innerJoin('group_members', 'group_members.resource_id', 'reservations.resource_id')
      .select(sql<number>`coalesce(sum(reservations.slots), 0)`.as('held'))
      .where('group_members.group_id', '=', group.id)
      .executeTakeFirstOrThrow();
    return Number(held) + request.use.slots <= most
      ? { allowed: true, reason: `${held} of ${most} allocations are taken` }
      : { allowed: false, reason: `all ${most} allocations are taken` };
  };

  readonly #approval: Judge = async ({ tx, group, request: { requester, team } }) => {
    if (group.policy.requireApproval !== true) return { allowed: true, reason: 'it wants no approval' };
    if (requester === undefined) {
      return { allowed: false, final: true, reason: 'it wants an approval; name a requester' };
    }
    const now = this.#clock.now();
    const known = await tx.db
      .selectFrom('group_approvals')
      .selectAll()
      .where('group_id', '=', group.id)
      .where('requester', '=', requester)
      .where('expires_at', '>', now)
      .orderBy('id', 'desc')
      .executeTakeFirst();
    if (known?.state === 'approved') return { allowed: true, reason: `${known.decided_by} approved it` };
    if (known?.state === 'denied') {
      return {
        allowed: false,
        final: true,
        reason: `${known.decided_by} denied it: ${known.reason ?? 'without a word'}`,
      };
    }
    const id = known?.id ?? (await this.#want(tx, group, requester, team, now));
    return { allowed: false, reason: `it wants the approval ${id} for ${requester}, by whoever looks after the group` };
  };

  async #want(
    tx: StoreTransaction,
    group: Group,
    requester: string,
    team: string | undefined,
    now: number,
  ): Promise<string> {
    const id = newId(this.#clock, this.#random);
    await tx.db
      .insertInto('group_approvals')
      .values({
        id,
        group_id: group.id,
        requester,
        team: team ?? null,
        state: 'wanted',
        requested_at: now,
        expires_at: now + limits.approvalWantedMs,
        decided_at: null,
        decided_by: null,
        reason: null,
      })
      .execute();
    await tx.emit('approval:wanted', id, { id, groupId: group.id, requester });
    const message = `${requester} wants to use group ${group.name}; approve or deny ${id}`;
    const details = { approvalId: id, groupId: group.id, requester };
    const trouble = { type: 'approval-wanted', severity: 'info', subject: id, message, details } as const;
    await raiseAlert(tx, trouble, { clock: this.#clock, random: this.#random });
    return id;
  }

  async #log(
    { db }: StoreTransaction,
    group: Group,
    policy: keyof AllocationPolicy,
    candidate: AdmissionCandidate,
    { requester, team }: CapacityRequest,
    { allowed, reason }: Verdict,
  ): Promise<void> {
    await db
      .insertInto('policy_decisions')
      .values({
        at: this.#clock.now(),
        group_id: group.id,
        policy,
        resource_id: candidate.id,
        requester: requester ?? null,
        team: team ?? null,
        allowed: allowed ? 1 : 0,
        reason,
      })
      .execute();
  }
}

/** The groups of a resource, the one that decides first. */
async function groupsOf({ db }: StoreTransaction, resourceId: string): Promise<Group[]> {
  const rows = await db
    .selectFrom('group_members')
    .innerJoin('groups', 'groups.id', 'group_members.group_id')
    .select(['groups.id', 'groups.name', 'groups.policy'])
    .where('group_members.resource_id', '=', resourceId)
    .orderBy('groups.priority', 'desc')
    .orderBy('groups.id')
    .execute();
  return rows.map(({ policy, ...group }) => ({ ...group, policy: JSON.parse(policy) as AllocationPolicy }));
}
