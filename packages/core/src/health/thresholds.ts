import * as v from 'valibot';
import type { HealthThresholds, ThresholdScope } from '../model/health-watch.ts';
import { resourceKinds, type ResourceKind } from '../model/resource.ts';
import { validate } from '../model/validate.ts';
import type { Store } from '../store/store.ts';
import type { DecidedThresholds } from './conditions.ts';

const amount = v.nullable(v.pipe(v.number('must be a number'), v.minValue(0, 'must not be negative')));
const percentage = v.nullable(
  v.pipe(v.number('must be a number'), v.minValue(0, 'must not be negative'), v.maxValue(100, 'must be at most 100')),
);
const degrees = v.nullable(v.pipe(v.number('must be a number'), v.finite('must be finite')));
const flag = v.boolean('must be true or false');

const thresholdsSchema: v.GenericSchema<unknown, HealthThresholds> = v.strictObject({
  minFreeStorageGb: v.exactOptional(amount),
  blockOnLowStorage: v.exactOptional(flag),
  maxUtilizationPercent: v.exactOptional(percentage),
  blockOnHighUtilization: v.exactOptional(flag),
  maxTemperatureCelsius: v.exactOptional(degrees),
  maxStoragePercent: v.exactOptional(percentage),
  maxResponseTimeMs: v.exactOptional(amount),
});

const id = v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'));
const scopeSchema: v.GenericSchema<unknown, ThresholdScope> = v.union(
  [
    v.strictObject({ resourceId: id }),
    v.strictObject({ groupId: id }),
    v.strictObject({ kind: v.picklist(resourceKinds) }),
  ],
  `must be a resourceId, a groupId, or a kind of ${resourceKinds.join(', ')}`,
);

/** Checks both. @throws `invalid-input` with one issue per field. */
export function checkThresholds(
  scope: unknown,
  thresholds: unknown,
): { readonly scope: ThresholdScope; readonly thresholds: HealthThresholds } {
  return {
    scope: validate('the scope of the thresholds', scopeSchema, scope),
    thresholds: validate('the thresholds', thresholdsSchema, thresholds),
  };
}

function keyOf(scope: ThresholdScope): { readonly scope: string; readonly scope_id: string } {
  if ('resourceId' in scope) return { scope: 'resource', scope_id: scope.resourceId };
  if ('groupId' in scope) return { scope: 'group', scope_id: scope.groupId };
  return { scope: 'kind', scope_id: scope.kind };
}

/** Thresholds as they were set, of all scopes. */
export class ThresholdBook {
  readonly #store: Store;
  #set = new Map<string, HealthThresholds>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Reads what any process has set. */
  async refresh(): Promise<void> {
    const rows = await this.#store.db.selectFrom('health_thresholds').selectAll().execute();
    this.#set = new Map(
      rows.map((row) => [`${row.scope}:${row.scope_id}`, JSON.parse(row.thresholds) as HealthThresholds]),
    );
  }

  /** What was set for exactly this scope; empty when nothing was. */
  of(scope: ThresholdScope): HealthThresholds {
    const key = keyOf(scope);
    return this.#set.get(`${key.scope}:${key.scope_id}`) ?? {};
  }

  /** Replaces what was set for a scope. */
  async set(scope: ThresholdScope, thresholds: HealthThresholds): Promise<void> {
    const key = keyOf(scope);
    const text = JSON.stringify(thresholds);
    await this.#store.transaction(async ({ db }) => {
      await db
        .insertInto('health_thresholds')
        .values({ ...key, thresholds: text })
        .onConflict((conflict) => conflict.columns(['scope', 'scope_id']).doUpdateSet({ thresholds: text }))
        .execute();
    });
    await this.refresh();
  }

  /** What counts for a resource: of each threshold the nearest. */
  decide(
    resource: { readonly id: string; readonly kind: ResourceKind; readonly groupId: string | undefined },
    defaults: DecidedThresholds,
  ): DecidedThresholds {
    if (this.#set.size === 0) return defaults;
    return {
      ...defaults,
      ...this.of({ kind: resource.kind }),
      ...(resource.groupId !== undefined && this.of({ groupId: resource.groupId })),
      ...this.of({ resourceId: resource.id }),
    };
  }
}
