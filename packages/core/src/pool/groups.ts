import type { Selectable } from 'kysely';
import * as v from 'valibot';
import { resolveAlert } from '../alerts/raise.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError, invalidInput, notFound } from '../errors.ts';
import { limits } from '../limits.ts';
import { countField, idField, labelsField, nameField } from '../model/fields.ts';
import type {
  AllocationPolicy,
  GroupApproval,
  GroupStatistics,
  PolicyDecision,
  ResourceGroup,
  ResourceGroupRequest,
} from '../model/group.ts';
import { pageLimit, type ListOptions } from '../model/page.ts';
import { resourceKinds, type Changes, type ResourceKind } from '../model/resource.ts';
import { validate } from '../model/validate.ts';
import { newId } from '../runtime.ts';
import type { GroupApprovalRow, GroupRow, PolicyDecisionRow } from '../store/schema/groups.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { memberIds, refreshMembers, regroup } from './membership.ts';
import { offerToWaiting } from './reservations.ts';

const integer = v.pipe(v.number('must be a number'), v.integer('must be a whole number'));

const policySchema: v.GenericSchema<unknown, AllocationPolicy> = v.strictObject({
  maxConcurrentAllocations: v.exactOptional(countField),
  maxVmsPerHost: v.exactOptional(countField),
  reservedForTeams: v.exactOptional(v.array(idField, 'must be a list of teams')),
  priorityBoost: v.exactOptional(integer),
  requireApproval: v.exactOptional(v.boolean('must be true or false')),
});

const requestSchema: v.GenericSchema<unknown, ResourceGroupRequest> = v.strictObject({
  name: nameField,
  description: v.exactOptional(v.string('must be a string')),
  resourceType: v.picklist(resourceKinds, `must be one of ${resourceKinds.join(', ')}`),
  labels: v.exactOptional(labelsField),
  memberIds: v.exactOptional(v.array(idField, 'must be a list of ids')),
  allocationPolicy: v.exactOptional(policySchema),
  priority: v.exactOptional(integer),
});

/** Groups of resources and what they decide over their members. */
export class ResourceGroupService {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor({ store, clock, random }: { store: Store; clock: Clock; random: Random }) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
  }

  /** Makes a group. @throws `invalid-input` with one issue per field; `conflict` when the name is taken. */
  async createGroup(input: ResourceGroupRequest): Promise<ResourceGroup> {
    const request = check(input);
    const id = newId(this.#clock, this.#random);
    const now = this.#clock.now();
    await this.#store.transaction(async (tx) => {
      await refuseTaken(tx, request.name, id);
      await checkMembers(tx, request);
      await tx.db
        .insertInto('groups')
        .values({ id, ...columns(request), turn: 0, created_at: now, updated_at: now })
        .execute();
      await refreshMembers(tx, id);
      await tx.emit('group:created', id, { id, name: request.name });
    });
    return this.getGroup(id);
  }

  /** Changes what is named; `null` takes it away. @throws as {@link ResourceGroupService.createGroup}; `not-found`. */
  async updateGroup(id: string, changes: Changes<Omit<ResourceGroupRequest, 'resourceType'>>): Promise<ResourceGroup> {
    await this.#store.transaction(async (tx) => {
      const merged = Object.entries({ ...requestOf(await rowOf(tx.db, id)), ...changes });
      const request = check(Object.fromEntries(merged.filter(([, value]) => value !== null && value !== undefined)));
      await refuseTaken(tx, request.name, id);
      await checkMembers(tx, request);
      const updated_at = this.#clock.now();
      await tx.db
        .updateTable('groups')
        .set({ ...columns(request), updated_at })
        .where('id', '=', id)
        .execute();
      await refreshMembers(tx, id);
      await offerMembers(tx, id);
      await tx.emit('group:updated', id, { id, name: request.name });
    });
    return this.getGroup(id);
  }

  /** Removes a group; its members stay, and are what other groups make of them. @throws `not-found`. */
  async deleteGroup(id: string): Promise<void> {
    await this.#store.transaction(async (tx) => {
      const { name } = await rowOf(tx.db, id);
      const members = await memberIds(tx.db, id);
      await tx.db.deleteFrom('group_members').where('group_id', '=', id).execute();
      const approvals = await tx.db.deleteFrom('group_approvals').where('group_id', '=', id).returning('id').execute();
      for (const { id: subject } of approvals) {
        await resolveAlert(tx, { type: 'approval-wanted', subject }, 'the group was deleted', this.#clock.now());
      }
      await tx.db.deleteFrom('groups').where('id', '=', id).execute();
      for (const member of members) {
        await regroup(tx, member);
        offerToWaiting(tx, member);
      }
      await tx.emit('group:removed', id, { id, name });
    });
  }

  /** @throws `not-found`. */
  async getGroup(id: string): Promise<ResourceGroup> {
    const row = await rowOf(this.#store.db, id);
    return view(row, await memberIds(this.#store.db, id));
  }

  /** One page, in the order they were made. */
  async listGroups(options: ListOptions = {}): Promise<readonly ResourceGroup[]> {
    const rows = await this.#store.db
      .selectFrom('groups')
      .selectAll()
      .where('id', '>', options.after ?? '')
      .orderBy('id')
      .limit(pageLimit(options))
      .execute();
    return Promise.all(rows.map(async (row) => view(row, await memberIds(this.#store.db, row.id))));
  }

  /** Puts a resource on the group's list. @throws `not-found`; `invalid-input` when it is of another kind. */
  async addMember(id: string, resourceId: string): Promise<ResourceGroup> {
    const { memberIds: listed = [] } = requestOf(await rowOf(this.#store.db, id));
    return this.updateGroup(id, { memberIds: [...new Set([...listed, resourceId])] });
  }

  /** Takes a resource off the group's list. One that belongs to it by its labels stays. @throws `not-found`. */
  async removeMember(id: string, resourceId: string): Promise<ResourceGroup> {
    const { memberIds: listed = [] } = requestOf(await rowOf(this.#store.db, id));
    return this.updateGroup(id, { memberIds: listed.filter((member) => member !== resourceId) });
  }

  /** The sum over the members. @throws `not-found`. */
  async getGroupStatistics(id: string): Promise<GroupStatistics> {
    await rowOf(this.#store.db, id);
    const rows = await this.#store.db
      .selectFrom('resources')
      .innerJoin('group_members', 'group_members.resource_id', 'resources.id')
      .selectAll('resources')
      .where('group_members.group_id', '=', id)
      .orderBy('resources.id')
      .execute();
    const sum = (amount: (row: (typeof rows)[number]) => number): number =>
      rows.reduce((total, row) => total + amount(row), 0);
    const capacity = {
      slots: sum((row) => row.slots_total),
      cpuCores: sum((row) => row.cpu_total),
      memoryMb: sum((row) => row.memory_mb_total),
      storageGb: sum((row) => row.storage_gb_total),
    };
    const used = {
      slots: sum((row) => row.slots_used),
      cpuCores: sum((row) => row.cpu_used),
      memoryMb: sum((row) => row.memory_mb_used),
      storageGb: sum((row) => row.storage_gb_used),
    };
    const fit = ['online', 'degraded'];
    return {
      members: rows.length,
      available: rows.filter((r) => fit.includes(r.status) && r.blocked === null && r.maintenance === 0).length,
      capacity,
      used,
      utilization: capacity.slots === 0 ? 0 : used.slots / capacity.slots,
      workload: rows
        .map((row) => ({ resourceId: row.id, name: row.name, slots: row.slots_used, load: row.load }))
        .sort((a, b) => b.load - a.load),
    };
  }

  /** Wishes to use groups, newest first. */
  async getApprovals(options: { readonly groupId?: string } = {}): Promise<readonly GroupApproval[]> {
    const rows = await this.#store.db
      .selectFrom('group_approvals')
      .selectAll()
      .$if(options.groupId !== undefined, (query) => query.where('group_id', '=', options.groupId ?? ''))
      .orderBy('id', 'desc')
      .limit(limits.pageSize)
      .execute();
    return rows.map(toApproval);
  }

  /** Lets the requester use the group for `durationMs`, default 24 h. @throws `not-found`; `conflict` when it has expired. */
  approve(id: string, by: string, options: { readonly durationMs?: number } = {}): Promise<GroupApproval> {
    return this.#decide(id, 'approved', by, options.durationMs ?? limits.approvalMs);
  }

  /** Refuses the requester the group for `durationMs`, default 24 h. @throws as {@link ResourceGroupService.approve}. */
  deny(
    id: string,
    by: string,
    options: { readonly reason?: string; readonly durationMs?: number } = {},
  ): Promise<GroupApproval> {
    return this.#decide(id, 'denied', by, options.durationMs ?? limits.approvalMs, options.reason);
  }

  async #decide(
    id: string,
    state: 'approved' | 'denied',
    by: string,
    durationMs: number,
    reason?: string,
  ): Promise<GroupApproval> {
    const now = this.#clock.now();
    return this.#store.transaction(async (tx) => {
      const known = await tx.db.selectFrom('group_approvals').selectAll().where('id', '=', id).executeTakeFirst();
      if (known === undefined) throw notFound('approval', id);
      if (known.expires_at <= now) {
        throw new BringupError('conflict', `approval ${id} has expired; it has to be asked for again`, {
          details: { id },
        });
      }
      const row = await tx.db
        .updateTable('group_approvals')
        .set({ state, decided_at: now, decided_by: by, reason: reason ?? null, expires_at: now + durationMs })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await tx.emit(`approval:${state}`, id, { id, groupId: row.group_id, requester: row.requester });
      await resolveAlert(tx, { type: 'approval-wanted', subject: id }, `${by} ${state} it`, now);
      if (state === 'approved') await offerMembers(tx, row.group_id);
      return toApproval(row);
    });
  }

  /**
   * What policies decided, oldest first, from a `seq` on. Decisions are kept for
   * `limits.policyDecisionKeepMs`, the newest `limits.policyDecisionsKept` of them.
   */
  async getPolicyDecisions(
    options: { readonly groupId?: string; readonly after?: number; readonly limit?: number } = {},
  ): Promise<readonly PolicyDecision[]> {
    const rows = await this.#store.db
      .selectFrom('policy_decisions')
      .selectAll()
      .where('seq', '>', options.after ?? 0)
      .$if(options.groupId !== undefined, (query) => query.where('group_id', '=', options.groupId ?? ''))
      .orderBy('seq')
      .limit(pageLimit(options))
      .execute();
    return rows.map(toDecision);
  }
}

/** Keeps the groups of resources in line with their labels. */
export function watchGroups(store: Store): void {
  store.react('resource:registered', (tx, id) => regroup(tx, id));
  store.react('resource:updated', (tx, id) => regroup(tx, id));
}

async function offerMembers(tx: StoreTransaction, groupId: string): Promise<void> {
  for (const member of await memberIds(tx.db, groupId)) offerToWaiting(tx, member);
}

function check(input: unknown): ResourceGroupRequest {
  return validate('the group', requestSchema, input, ({ resourceType, allocationPolicy }) => {
    const { maxVmsPerHost } = (allocationPolicy ?? {}) as AllocationPolicy;
    if (maxVmsPerHost === undefined || resourceType === 'host') return [];
    return [{ path: 'allocationPolicy.maxVmsPerHost', message: 'has a meaning for groups of hosts only' }];
  });
}

async function checkMembers({ db }: StoreTransaction, request: ResourceGroupRequest): Promise<void> {
  const issues = [];
  for (const [index, id] of (request.memberIds ?? []).entries()) {
    const row = await db.selectFrom('resources').select('kind').where('id', '=', id).executeTakeFirst();
    if (row?.kind === request.resourceType) continue;
    const message =
      row === undefined ? `there is no resource ${id}` : `it is a ${row.kind}, not a ${request.resourceType}`;
    issues.push({ path: `memberIds.${index}`, message });
  }
  if (issues.length > 0) throw invalidInput('the group', issues);
}

async function refuseTaken({ db }: StoreTransaction, name: string, id: string): Promise<void> {
  const other = await db.selectFrom('groups').select('id').where('name', '=', name).executeTakeFirst();
  if (other === undefined || other.id === id) return;
  throw new BringupError('conflict', `a group named ${name} exists already`, { details: { name } });
}

async function rowOf(db: Pick<Store['db'], 'selectFrom'>, id: string): Promise<Selectable<GroupRow>> {
  const row = await db.selectFrom('groups').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw notFound('group', id);
  return row;
}

function columns(request: ResourceGroupRequest) {
  return {
    name: request.name,
    description: request.description ?? null,
    kind: request.resourceType,
    labels: JSON.stringify(request.labels ?? {}),
    listed: JSON.stringify(request.memberIds ?? []),
    policy: JSON.stringify(request.allocationPolicy ?? {}),
    priority: request.priority ?? 0,
  };
}

function requestOf(row: Selectable<GroupRow>): ResourceGroupRequest {
  return {
    name: row.name,
    ...(row.description !== null && { description: row.description }),
    resourceType: row.kind as ResourceKind,
    labels: JSON.parse(row.labels) as Record<string, string>,
    memberIds: JSON.parse(row.listed) as string[],
    allocationPolicy: JSON.parse(row.policy) as AllocationPolicy,
    priority: row.priority,
  };
}

function view(row: Selectable<GroupRow>, members: readonly string[]): ResourceGroup {
  const { labels = {}, allocationPolicy = {}, priority = 0, ...rest } = requestOf(row);
  return {
    ...rest,
    id: row.id,
    labels,
    allocationPolicy,
    priority,
    memberIds: members,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function toApproval(row: Selectable<GroupApprovalRow>): GroupApproval {
  return {
    id: row.id,
    groupId: row.group_id,
    requester: row.requester,
    ...(row.team !== null && { team: row.team }),
    state: row.state as GroupApproval['state'],
    requestedAt: row.requested_at,
    expiresAt: row.expires_at,
    ...(row.decided_at !== null && { decidedAt: row.decided_at }),
    ...(row.decided_by !== null && { decidedBy: row.decided_by }),
    ...(row.reason !== null && { reason: row.reason }),
  };
}

function toDecision(row: Selectable<PolicyDecisionRow>): PolicyDecision {
  return {
    seq: row.seq,
    at: row.at,
    groupId: row.group_id,
    policy: row.policy as keyof AllocationPolicy,
    resourceId: row.resource_id,
    ...(row.requester !== null && { requester: row.requester }),
    ...(row.team !== null && { team: row.team }),
    allowed: row.allowed === 1,
    reason: row.reason,
  };
}
