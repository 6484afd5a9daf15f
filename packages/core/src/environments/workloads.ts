import type { CallOptions } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { isFinal, type WorkKind, type WorkState } from '../model/work.ts';
import { release } from '../pool/reservations.ts';
import type { Store } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import type { EnvironmentService } from './service.ts';

/** Something that holds capacity of a resource. */
export interface Workload {
  readonly reservationId: string;
  /** On whose behalf: the id of a work item, or any name. */
  readonly holder: string;
  /** What the holder does, when it is unfinished work. */
  readonly workKind?: WorkKind;
  /** The environment that is there for it. */
  readonly environmentId?: string;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
}

/**
 * What is on a resource, for whoever wants it empty: to put it into maintenance, or to take it out of
 * the pool. Put it into maintenance first, or something new may take the place.
 */
export class WorkloadService {
  readonly #store: Store;
  readonly #work: WorkEngine;
  readonly #environments: EnvironmentService;

  constructor(options: { store: Store; work: WorkEngine; environments: EnvironmentService }) {
    this.#store = options.store;
    this.#work = options.work;
    this.#environments = options.environments;
  }

  /** What holds capacity of a resource of any kind, oldest first; at most {@link limits.pageSize}. */
  async list(resourceId: string): Promise<readonly Workload[]> {
    const rows = await this.#store.db
      .selectFrom('reservations')
      .leftJoin('environments', 'environments.reservation_id', 'reservations.id')
      .leftJoin('work_items', 'work_items.id', 'reservations.holder')
      .select([
        'reservations.id',
        'reservations.holder',
        'reservations.created_at',
        'environments.id as environment_id',
        'work_items.kind',
        'work_items.state as work_state',
      ])
      .where('resource_id', '=', resourceId)
      .orderBy('reservations.fence')
      .limit(limits.pageSize)
      .execute();
    return rows.map((row) => ({
      reservationId: row.id,
      holder: row.holder,
      ...(row.kind !== null &&
        row.work_state !== null &&
        !isFinal(row.work_state as WorkState) && { workKind: row.kind as WorkKind }),
      ...(row.environment_id !== null && { environmentId: row.environment_id }),
      since: row.created_at,
    }));
  }

  /**
   * Ends what is on a resource: work is cancelled, environments are given back, and what nobody's work
   * stands behind is freed. Resolves when the resource is empty.
   * @throws what kept a VM from ending; `aborted`, `deadline-exceeded`.
   */
  async release(resourceId: string, options: CallOptions = {}): Promise<void> {
    for (const workload of await this.list(resourceId)) await this.end(workload, options);
  }

  /** Ends one of what is on a resource. @throws as {@link WorkloadService.release}. */
  async end(workload: Workload, options: CallOptions = {}): Promise<void> {
    const { holder, workKind, environmentId, reservationId } = workload;
    if (workKind !== undefined) {
      await this.#work.cancel(holder, 'the resource it is on was wanted empty');
      await this.#work.finished(holder, options);
    }
    if (environmentId !== undefined) await this.#environments.release(environmentId, options);
    await this.#store.transaction((tx) => release(tx, reservationId));
  }
}
