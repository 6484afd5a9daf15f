// The SQL that every item of work runs through, see queue.ts.
import { sql, type Kysely, type Selectable, type SelectQueryBuilder, type UpdateResult } from 'kysely';
import { insertion, prepared, preparedFor, type Bind, type PreparedQuery } from '../store/prepared.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { Schema } from '../store/schema.ts';

type Row = Selectable<WorkRow>;

/** Adds an item, in whatever state. */
export const addItem: (db: Kysely<Schema>, row: Row) => Promise<void> = insertion('work_items');

interface ClaimValues {
  readonly kinds: readonly string[];
  readonly owner: string;
  readonly leaseUntil: number;
  readonly now: number;
  /** What a flow waits for. */
  readonly wakeOn: string;
}

interface ClaimShape {
  readonly kinds: number;
  readonly count: number;
}

/** Claims ready items, in any order of rows; `opens` is the flow, if it has not started, that is the parent. */
export const claimItems: (shape: ClaimShape) => PreparedQuery<ClaimValues, Row & { readonly opens: string | null }> =
  preparedFor((db, p: Bind<ClaimValues>, { kinds, count }: ClaimShape) =>
    db
      .updateTable('work_items')
      .set((eb) => ({
        state: 'running',
        owner: p('owner'),
        lease_until: p('leaseUntil'),
        fence: eb('fence', '+', 1),
        wake_on: null,
        started_at: sql<number>`coalesce(started_at, ${p('now')})`,
      }))
      .where('id', 'in', (eb) =>
        eb
          .selectFrom('work_items')
          .select('id')
          .where('state', '=', 'queued')
          .where(
            'kind',
            'in',
            Array.from({ length: kinds }, (_, index) => p('kinds', index)),
          )
          .orderBy('priority', 'desc')
          .orderBy('id')
          .limit(count),
      )
      .returningAll()
      .returning((eb) =>
        eb
          .selectFrom('work_items as flow')
          .select('flow.id')
          .whereRef('flow.id', '=', 'work_items.parent_id')
          .where('flow.wake_on', '=', p('wakeOn'))
          .where('flow.started_at', 'is', null)
          .as('opens'),
      ),
  );

/** A row when there are `count` unfinished items or more. It is found in the index alone. */
export const unfinishedBeyond: (shape: { readonly count: number }) => PreparedQuery<object, { id: string }> =
  preparedFor((db, _p: Bind<object>, { count }: { readonly count: number }) =>
    db
      .selectFrom('work_items')
      .select('id')
      .where('state', 'in', ['queued', 'running', 'waiting'])
      .limit(1)
      .offset(count - 1),
  );

/** Whose an item is. */
export interface Claim {
  readonly id: string;
  readonly owner: string;
  readonly fence: number;
}

/** Whether a claim of the item still holds, as {@link ownedItem} asks the database. */
export function isClaim(row: Row, { id, owner, fence }: Claim): boolean {
  return row.id === id && row.state === 'running' && row.owner === owner && row.fence === fence;
}

export const ownedItem: PreparedQuery<Claim, Row> = prepared((db, p: Bind<Claim>) =>
  db
    .selectFrom('work_items')
    .selectAll()
    .where('id', '=', p('id'))
    .where('state', '=', 'running')
    .where('owner', '=', p('owner'))
    .where('fence', '=', p('fence')),
);

export const itemById: PreparedQuery<{ id: string }, Row> = prepared((db, p: Bind<{ id: string }>) =>
  db.selectFrom('work_items').selectAll().where('id', '=', p('id')),
);

type EndValues = Pick<WorkRow, 'id' | 'state' | 'output' | 'error'> & { readonly now: number };

export const endItem: PreparedQuery<EndValues, UpdateResult> = prepared((db, p: Bind<EndValues>) =>
  db
    .updateTable('work_items')
    .set({
      state: p('state'),
      output: p('output'),
      error: p('error'),
      owner: null,
      lease_until: null,
      wake_on: null,
      finished_at: p('now'),
    })
    .where('id', '=', p('id')),
);

interface WakeValues {
  readonly wakeOn: string;
}

export const readyWaiting: (shape: { readonly count: number }) => PreparedQuery<WakeValues, Pick<Row, 'kind'>> =
  preparedFor((db, p: Bind<WakeValues>, { count }: { readonly count: number }) =>
    db
      .updateTable('work_items')
      .set({ state: 'queued', wake_on: null })
      .where('id', 'in', (eb) =>
        eb
          .selectFrom('work_items')
          .select('id')
          .where('wake_on', '=', p('wakeOn'))
          .where('state', '=', 'waiting')
          .orderBy('priority', 'desc')
          .orderBy('id')
          .limit(count),
      )
      .returning('kind'),
  );

export const tellRunning: PreparedQuery<WakeValues, UpdateResult> = prepared((db, p: Bind<WakeValues>) =>
  db.updateTable('work_items').set({ wake_on: null }).where('wake_on', '=', p('wakeOn')).where('state', '=', 'running'),
);

export const setWakeOn: PreparedQuery<{ id: string; wakeOn: string }, UpdateResult> = prepared(
  (db, p: Bind<{ id: string; wakeOn: string }>) =>
    db
      .updateTable('work_items')
      .set({ wake_on: p('wakeOn') })
      .where('id', '=', p('id')),
);

type AsideValues = Pick<WorkRow, 'id' | 'state' | 'wake_on' | 'run_after' | 'wait_ms'>;

export const asideItem: PreparedQuery<AsideValues, Row> = prepared((db, p: Bind<AsideValues>) =>
  db
    .updateTable('work_items')
    .set({
      state: p('state'),
      owner: null,
      lease_until: null,
      wake_on: p('wake_on'),
      run_after: p('run_after'),
      wait_ms: p('wait_ms'),
    })
    .where('id', '=', p('id'))
    .returningAll(),
);

type Checkpointed = Pick<WorkRow, 'id' | 'checkpoint'>;

export const setCheckpoint: PreparedQuery<Checkpointed, UpdateResult> = prepared((db, p: Bind<Checkpointed>) =>
  db
    .updateTable('work_items')
    .set({ checkpoint: p('checkpoint') })
    .where('id', '=', p('id')),
);

interface Phase {
  readonly id: string;
  readonly phase: string;
}

/** Has a waiting item go on. */
export const readyItem: PreparedQuery<{ id: string }, UpdateResult> = prepared((db, p: Bind<{ id: string }>) =>
  db.updateTable('work_items').set({ state: 'queued', wake_on: null }).where('id', '=', p('id')),
);

/** No row when it is in that phase already. */
export const setPhase: PreparedQuery<Phase, Row> = prepared((db, p: Bind<Phase>) =>
  db
    .updateTable('work_items')
    .set({ phase: p('phase') })
    .where('id', '=', p('id'))
    .where((eb) => eb.or([eb('phase', 'is', null), eb('phase', '!=', p('phase'))]))
    .returningAll(),
);

type Stepped = Pick<WorkRow, 'id' | 'phase' | 'started_at'>;

/** Notes what a flow does next. */
export const stepFlow: PreparedQuery<Stepped, UpdateResult> = prepared((db, p: Bind<Stepped>) =>
  db
    .updateTable('work_items')
    .set({ phase: p('phase'), started_at: p('started_at') })
    .where('id', '=', p('id')),
);

interface StartValues {
  readonly ids: readonly string[];
  readonly now: number;
}

/** Marks items as started. */
export const startItems: (shape: { readonly count: number }) => PreparedQuery<StartValues, Row> = preparedFor(
  (db, p: Bind<StartValues>, { count }: { readonly count: number }) =>
    db
      .updateTable('work_items')
      .set({ started_at: p('now') })
      .where(
        'id',
        'in',
        Array.from({ length: count }, (_, index) => p('ids', index)),
      )
      .returningAll(),
);

/** An item and what it has started, oldest first. */
export const familyOf: PreparedQuery<{ id: string }, Row> = prepared((db, p: Bind<{ id: string }>) =>
  db
    .selectFrom('work_items')
    .selectAll()
    .where('id', '=', p('id'))
    .unionAll(db.selectFrom('work_items').selectAll().where('parent_id', '=', p('id')))
    .orderBy('id'),
);

interface Child {
  readonly parentId: string;
  readonly key: string;
}

export const childOf: PreparedQuery<Child, Row> = prepared((db, p: Bind<Child>) =>
  db.selectFrom('work_items').selectAll().where('parent_id', '=', p('parentId')).where('child_key', '=', p('key')),
);

interface DueValues {
  readonly kinds: readonly string[];
  readonly now: number;
}

/** What there is to do: something true, as the database has it. */
export interface Due {
  /** An item can be claimed. */
  readonly ready: unknown;
  /** One is to be put back into the queue: its time has come, or its lease has run out. */
  readonly back: unknown;
  /** One has not been asked to stop, but its deadline has passed. */
  readonly late: unknown;
}

/** What every process asks whenever something has been committed, and twice a second. */
export const whatIsDue: (shape: { readonly kinds: number }) => PreparedQuery<DueValues, Due> = preparedFor(
  (db, p: Bind<DueValues>, { kinds }: { readonly kinds: number }) =>
    db.selectNoFrom((eb) => {
      const list = Array.from({ length: kinds }, (_, index) => p('kinds', index));
      const items = eb.selectFrom('work_items').select('id').limit(1);
      const ready = items.where('state', '=', 'queued').where('kind', 'in', list);
      return [
        (kinds === 0 ? eb.lit(0) : eb.exists(ready)).as('ready'),
        eb
          .or([
            eb.exists(items.where('state', '=', 'waiting').where('run_after', '<=', p('now'))),
            eb.exists(items.where('state', '=', 'running').where('lease_until', '<=', p('now'))),
          ])
          .as('back'),
        eb.exists(overdue(eb.selectFrom('work_items'), p('now')).select('id').limit(1)).as('late'),
      ];
    }),
);

/** Unfinished items whose deadline has passed and which have not been asked to stop, of a query of one's own. */
export function overdue(
  query: SelectQueryBuilder<Schema, 'work_items', object>,
  now: number,
): SelectQueryBuilder<Schema, 'work_items', object> {
  return query
    .where('deadline_at', '<=', now)
    .where('stop_reason', 'is', null)
    .where('state', 'in', ['queued', 'running', 'waiting']);
}

/** Who has claimed something. */
export const runningOwners: PreparedQuery<object, Pick<Row, 'owner'>> = prepared((db) =>
  db.selectFrom('work_items').select('owner').distinct().where('state', '=', 'running'),
);

/** What an owner has claimed and is asked to stop. */
export const stoppedOf: PreparedQuery<{ owner: string }, Pick<Row, 'id' | 'stop_reason'>> = prepared(
  (db, p: Bind<{ owner: string }>) =>
    db
      .selectFrom('work_items')
      .select(['id', 'stop_reason'])
      .where('state', '=', 'running')
      .where('owner', '=', p('owner'))
      .where('stop_reason', 'is not', null),
);
