import * as v from 'valibot';
import type { NotificationReason } from '../contracts/notifier.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { notFound, type StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import {
  alertSeverities,
  alertTypes,
  type Alert,
  type AlertSeverity,
  type AlertState,
  type AlertType,
} from '../model/alert.ts';
import { pageLimit, type HistoryOptions } from '../model/page.ts';
import { validate } from '../model/validate.ts';
import { isFinal, type WorkState } from '../model/work.ts';
import type { Store } from '../store/store.ts';
import type { DeliveryCheckpoint } from './delivery-handler.ts';
import { acknowledgeAlert, endAlert, raiseAlert, toAlert, type Trouble } from './raise.ts';

/** Which alerts to list, newest first; what is left out does not narrow. */
export interface AlertListOptions extends HistoryOptions {
  readonly state?: AlertState | readonly AlertState[];
  readonly severity?: AlertSeverity | readonly AlertSeverity[];
  readonly type?: AlertType | readonly AlertType[];
  /** Id of what they are about. */
  readonly subject?: string;
  /** Only those noticed at or after this time, milliseconds since the Unix epoch. */
  readonly since?: number;
}

/** How one notifier was told of an alert. Times are milliseconds since the Unix epoch. */
export interface AlertDelivery {
  /** The {@link Notification}'s id. */
  readonly id: string;
  readonly notifier: string;
  readonly reason: NotificationReason;
  readonly state: 'pending' | 'delivered' | 'failed';
  /** Tries that failed. */
  readonly failures: number;
  readonly error?: StoredError;
  readonly createdAt: number;
  readonly finishedAt?: number;
}

/** How many alerts there are, of those that are kept. */
export interface AlertStatistics {
  readonly byState: { readonly [State in AlertState]: number };
  /** Of those that are not resolved. */
  readonly bySeverity: { readonly [Severity in AlertSeverity]: number };
  /** Of those that are not resolved; types without any are left out. */
  readonly byType: { readonly [Type in AlertType]?: number };
  /** From being raised to being resolved, on average; absent when none is resolved. */
  readonly meanResolutionSeconds?: number;
}

const text = v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'), v.maxLength(limits.alertTextChars));

const troubleSchema: v.GenericSchema<unknown, Trouble> = v.strictObject({
  type: v.picklist(alertTypes, `must be one of ${alertTypes.join(', ')}`),
  severity: v.picklist(alertSeverities, `must be one of ${alertSeverities.join(', ')}`),
  subject: v.string('must be a string'),
  message: text,
  details: v.exactOptional(v.record(v.string(), v.any())),
}) as v.GenericSchema<unknown, Trouble>;

const noteSchema = v.strictObject({ by: text, note: v.exactOptional(text) });

/**
 * What a person should know. The same trouble of the same subject is one alert for as long as it
 * lasts. To be told as it happens, listen to the lab's events `alert:raised`, `alert:acknowledged` and
 * `alert:resolved`; to be told elsewhere, give the lab notifiers.
 */
export class AlertService {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: { readonly store: Store; readonly clock: Clock; readonly random: Random }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** One page. */
  async list(options: AlertListOptions = {}): Promise<readonly Alert[]> {
    const { state, severity, type, subject, since, before } = options;
    const rows = await this.#store.db
      .selectFrom('alerts')
      .selectAll()
      .$if(state !== undefined, (query) => query.where('state', 'in', several(state)))
      .$if(severity !== undefined, (query) => query.where('severity', 'in', several(severity)))
      .$if(type !== undefined, (query) => query.where('type', 'in', several(type)))
      .$if(subject !== undefined, (query) => query.where('subject', '=', subject ?? ''))
      .$if(since !== undefined, (query) => query.where('last_seen_at', '>=', since ?? 0))
      .$if(before !== undefined, (query) => query.where('id', '<', before ?? ''))
      .orderBy('id', 'desc')
      .limit(pageLimit(options))
      .execute();
    return rows.map(toAlert);
  }

  /** @throws `not-found`. */
  async get(id: string): Promise<Alert> {
    const row = await this.#store.db.selectFrom('alerts').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw notFound('alert', id);
    return toAlert(row);
  }

  /**
   * Raises an alert of one's own, or counts it if the same trouble of the same subject is known.
   * @throws `invalid-input`.
   */
  async raise(trouble: Trouble): Promise<Alert> {
    const checked = validate('the alert', troubleSchema, trouble);
    return this.#store.transaction((tx) => raiseAlert(tx, checked, { clock: this.#clock, random: this.#random }));
  }

  /**
   * Somebody takes note of it. It stays until the trouble is over; if it gets worse it is open again.
   * One that was acknowledged before, or is over, stays as it is. @throws `not-found`, `invalid-input`.
   */
  async acknowledge(id: string, options: { readonly by: string }): Promise<Alert> {
    const { by } = validate('the acknowledgement', noteSchema, options);
    await this.get(id);
    await this.#store.transaction((tx) => acknowledgeAlert(tx, id, by, this.#clock.now()));
    return this.get(id);
  }

  /** Somebody says that it is over. One that is over already stays as it is. @throws `not-found`, `invalid-input`. */
  async resolve(id: string, options: { readonly by: string; readonly note?: string }): Promise<Alert> {
    const { by, note } = validate('the resolution', noteSchema, options);
    await this.get(id);
    const resolution = note ?? `resolved by ${by}`;
    await this.#store.transaction((tx) => endAlert(tx, id, resolution, this.#clock.now(), by));
    return this.get(id);
  }

  /** Who was told of an alert, and how that went; oldest first. */
  async getDeliveries(id: string): Promise<readonly AlertDelivery[]> {
    const rows = await this.#store.db
      .selectFrom('deliveries')
      .innerJoin('work_items', 'work_items.id', 'deliveries.id')
      .select(['deliveries.id', 'notifier', 'reason', 'state', 'checkpoint', 'error', 'created_at', 'finished_at'])
      .where('alert_id', '=', id)
      .orderBy('turn')
      .orderBy('deliveries.id')
      .limit(limits.pageSize)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      notifier: row.notifier,
      reason: row.reason as NotificationReason,
      state: row.state === 'succeeded' ? 'delivered' : isFinal(row.state as WorkState) ? 'failed' : 'pending',
      failures: row.checkpoint === null ? 0 : (JSON.parse(row.checkpoint) as DeliveryCheckpoint).failures,
      ...(row.error !== null && { error: JSON.parse(row.error) as StoredError }),
      createdAt: row.created_at,
      ...(row.finished_at !== null && { finishedAt: row.finished_at }),
    }));
  }

  /** Figures over all alerts that are kept. */
  async getStatistics(): Promise<AlertStatistics> {
    const { db } = this.#store;
    const groups = await db
      .selectFrom('alerts')
      .select(['state', 'severity', 'type', (eb) => eb.fn.countAll<number>().as('alerts')])
      .groupBy(['state', 'severity', 'type'])
      .execute();
    const times = await db
      .selectFrom('alerts')
      .select((eb) => eb.fn.avg<number | string | null>(eb('resolved_at', '-', eb.ref('raised_at'))).as('mean'))
      .where('resolved_at', 'is not', null)
      .executeTakeFirst();
    const count = (of: (group: (typeof groups)[number]) => boolean): number =>
      groups.filter(of).reduce((sum, { alerts }) => sum + Number(alerts), 0);
    const unresolved = groups.filter(({ state }) => state !== 'resolved');
    const mean = times?.mean ?? null;
    return {
      byState: {
        open: count(({ state }) => state === 'open'),
        acknowledged: count(({ state }) => state === 'acknowledged'),
        resolved: count(({ state }) => state === 'resolved'),
      },
      bySeverity: {
        info: count(({ state, severity }) => state !== 'resolved' && severity === 'info'),
        warning: count(({ state, severity }) => state !== 'resolved' && severity === 'warning'),
        critical: count(({ state, severity }) => state !== 'resolved' && severity === 'critical'),
      },
      byType: Object.fromEntries(
        [...new Set(unresolved.map(({ type }) => type))].map((type) => [
          type,
          count((group) => group.state !== 'resolved' && group.type === type),
        ]),
      ),
      ...(mean !== null && { meanResolutionSeconds: Number(mean) / 1000 }),
    };
  }
}

function several<T extends string>(given: T | readonly T[] | undefined): readonly T[] {
  return given === undefined ? [] : typeof given === 'string' ? [given] : given;
}
