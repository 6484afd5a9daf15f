import type { AllocationPolicy } from '../model/group.ts';
import { prepared, type Bind } from '../store/prepared.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { groupTrait } from './kind.ts';

/** Works out anew who is in a group. */
export async function refreshMembers(tx: StoreTransaction, groupId: string): Promise<void> {
  const group = await tx.db.selectFrom('groups').selectAll().where('id', '=', groupId).executeTakeFirstOrThrow();
  const before = await tx.db
    .selectFrom('group_members')
    .select('resource_id')
    .where('group_id', '=', groupId)
    .execute();
  const now = await tx.db.selectFrom('resources').select(['id', 'labels']).where('kind', '=', group.kind).execute();
  const members = now.filter((row) => belongs(group, row)).map(({ id }) => id);
  for (const id of new Set([...before.map(({ resource_id }) => resource_id), ...members])) await regroup(tx, id);
}

// A busy lab changes hundreds of resources a second, each of which comes by here.
const resourceOf = prepared((db, p: Bind<{ id: string }>) =>
  db.selectFrom('resources').select(['id', 'kind', 'labels', 'group_id']).where('id', '=', p('id')),
);
const groupsOfKind = prepared((db, p: Bind<{ kind: string }>) =>
  db
    .selectFrom('groups')
    .select(['id', 'kind', 'labels', 'listed'])
    .where('kind', '=', p('kind'))
    .orderBy('priority', 'desc')
    .orderBy('id'),
);

/** Works out anew which groups a resource is in, and which of them decides. */
export async function regroup(tx: StoreTransaction, resourceId: string): Promise<void> {
  const { db } = tx;
  const row = await resourceOf.first(db, { id: resourceId });
  if (row === undefined) return;
  const candidates = await groupsOfKind.all(db, { kind: row.kind });
  const groups = candidates.filter((group) => belongs(group, row)).map(({ id }) => id);
  if (groups.length === 0 && row.group_id === null) return;
  await db.deleteFrom('group_members').where('resource_id', '=', resourceId).execute();
  await db.deleteFrom('traits').where('resource_id', '=', resourceId).where('trait', 'like', 'group:%').execute();
  for (const group of groups) {
    await db.insertInto('group_members').values({ group_id: group, resource_id: resourceId }).execute();
    await db
      .insertInto('traits')
      .values({ resource_id: resourceId, trait: groupTrait(group) })
      .execute();
  }
  await db
    .updateTable('resources')
    .set({ group_id: groups[0] ?? null })
    .where('id', '=', resourceId)
    .execute();
}

/** It is listed, or it has all the labels; a group without labels has nobody by them. */
function belongs(
  group: { readonly labels: string; readonly listed: string },
  resource: { readonly id: string; readonly labels: string },
): boolean {
  if ((JSON.parse(group.listed) as string[]).includes(resource.id)) return true;
  const wanted = Object.entries(JSON.parse(group.labels) as Record<string, string>);
  const labels = JSON.parse(resource.labels) as Record<string, string>;
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

/** Who is in a group, in the order of their ids. */
export async function memberIds(db: Pick<Store['db'], 'selectFrom'>, groupId: string): Promise<string[]> {
  const rows = await db
    .selectFrom('group_members')
    .select('resource_id')
    .where('group_id', '=', groupId)
    .orderBy('resource_id')
    .execute();
  return rows.map(({ resource_id }) => resource_id);
}

/**
 * Members of those of a resource's groups that limit how much is held in them at a time: when it is given back, any of
 * them may be had by those who were refused because of the limit. Undefined when nobody waits for anything, which is
 * what most releases find.
 */
export async function sharersOfLimits(
  tx: StoreTransaction,
  resourceId: string,
): Promise<readonly string[] | undefined> {
  const rows = await groupsWhereAnybodyWaits.all(tx.db, { resourceId });
  if (rows.length === 0) return undefined;
  const members: string[] = [];
  for (const { id, policy } of rows) {
    if (id === null || policy === null) continue;
    const { maxConcurrentAllocations } = JSON.parse(policy) as AllocationPolicy;
    if (maxConcurrentAllocations !== undefined) members.push(...(await memberIds(tx.db, id)));
  }
  return members;
}

const groupsWhereAnybodyWaits = prepared((db, p: Bind<{ resourceId: string }>) =>
  db
    .selectFrom((eb) => eb.selectFrom('waiting_shapes').select('waiting_shapes.id').limit(1).as('anybody'))
    .leftJoin('group_members', (join) => join.on('group_members.resource_id', '=', p('resourceId')))
    .leftJoin('groups', 'groups.id', 'group_members.group_id')
    .select(['groups.id', 'groups.policy']),
);
