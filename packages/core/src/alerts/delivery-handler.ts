import { withDeadline } from '../async.ts';
import type { Notifier } from '../contracts/notifier.ts';
import type { Random } from '../contracts/runtime.ts';
import { BringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { alertSeverities } from '../model/alert.ts';
import { newId } from '../runtime.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import { enqueue, wake } from '../work/queue.ts';
import { settle, type NotificationInput } from './tell.ts';

/** How far a delivery has come. */
export interface DeliveryCheckpoint {
  /** Tries that failed. */
  readonly failures: number;
}

type Context = WorkContext<DeliveryCheckpoint>;
type Tell = Extract<NotificationInput, { step: 'tell' }>;
type Deliver = Extract<NotificationInput, { step: 'deliver' }>;

/**
 * Brings alerts to the notifiers, at least once each. One at a time to each notifier of a process, so
 * that one which hangs or is slow holds up nobody but itself.
 */
export class NotificationHandler implements WorkHandler<NotificationInput, null, DeliveryCheckpoint> {
  readonly kind = 'notification';
  readonly #notifiers: ReadonlyMap<string, Notifier>;
  readonly #random: Random;
  readonly #busy = new Set<string>();

  constructor({ notifiers, random }: { readonly notifiers: readonly Notifier[]; readonly random: Random }) {
    this.#notifiers = new Map(notifiers.map((notifier) => [notifier.name, notifier]));
    if (this.#notifiers.size !== notifiers.length) throw new TypeError('two notifiers have the same name');
    this.#random = random;
  }

  async run(context: Context, input: NotificationInput): Promise<WorkResult<null>> {
    switch (input.step) {
      case 'tell':
        await this.#whenSpread(context, input);
        return { output: null, commit: (tx) => this.#spread(tx, context, input) };
      case 'settle': {
        const { clock } = context;
        if (clock.now() < input.notBefore) context.stepAside({ atLatestMs: input.notBefore - clock.now() });
        return { output: null, commit: (tx) => settle(tx, input.alertId, { clock, random: this.#random }) };
      }
      case 'deliver':
        return this.#deliver(context, input);
    }
  }

  /** What could not be handed to the notifiers is, now: what is to be told of the alert later waits for it. */
  async cleanUp(context: Context, input: NotificationInput): Promise<void> {
    if (input.step === 'tell') await context.transaction((tx) => this.#spread(tx, context, input));
  }

  /** What was to be told of the alert before is handed to the notifiers first. */
  async #whenSpread(context: Context, { alert, turn }: Tell): Promise<void> {
    const topic = spreadTopic(alert.id);
    const row = await context.transaction(async (tx) => {
      await context.expectIn(tx, topic);
      return tx.db.selectFrom('alerts').select('spread_count').where('id', '=', alert.id).executeTakeFirst();
    });
    if (row !== undefined && row.spread_count < turn - 1) {
      context.stepAside({ wakeOn: topic, atLatestMs: limits.deliveryTimeoutMs });
    }
  }

  /** One delivery for each notifier that wants to hear of it. */
  async #spread(tx: StoreTransaction, context: Context, { alert, reason, turn }: Tell): Promise<void> {
    const { clock, id: parentId, traceparent } = context;
    const kept = await tx.db
      .updateTable('alerts')
      .set({ spread_count: turn })
      .where('id', '=', alert.id)
      .where('spread_count', '<', turn)
      .returning('id')
      .executeTakeFirst();
    if (kept === undefined) return;
    await wake(tx, spreadTopic(alert.id));
    for (const { name, minSeverity = 'info' } of this.#notifiers.values()) {
      if (alertSeverities.indexOf(alert.severity) < alertSeverities.indexOf(minSeverity)) continue;
      const id = newId(clock, this.#random);
      const input: NotificationInput = { step: 'deliver', notifier: name, reason, alert, turn };
      const work = { id, kind: 'notification', input, parentId, childKey: name, traceparent } as const;
      await enqueue(tx, work, clock.now());
      await tx.db.insertInto('deliveries').values({ id, alert_id: alert.id, notifier: name, reason, turn }).execute();
    }
  }

  async #deliver(context: Context, input: Deliver): Promise<WorkResult<null>> {
    const { notifier: name, reason, alert } = input;
    const notifier = this.#notifiers.get(name);
    if (notifier === undefined) {
      const missing = new BringupError('delivery-failed', `this process has no notifier '${name}'`, {
        retryable: true,
      });
      return this.#later(context, input, missing);
    }
    await this.#takeTurn(context, input);
    try {
      const bounds = { timeoutMs: limits.deliveryTimeoutMs, signal: context.signal };
      await withDeadline(context.clock, `telling ${name}`, bounds, (signal) =>
        notifier.deliver({ id: context.id, reason, alert }, { signal, timeoutMs: limits.deliveryTimeoutMs }),
      );
      return {
        output: null,
        commit: async (tx) => {
          await wake(tx, orderTopic(input));
          await wake(tx, turnTopic(name), 1);
        },
      };
    } catch (error) {
      context.signal.throwIfAborted();
      return await this.#later(context, input, toBringupError(error, 'delivery-failed'));
    } finally {
      this.#busy.delete(name);
    }
  }

  /** In order for each alert, one at a time for each notifier. */
  async #takeTurn(context: Context, input: Deliver): Promise<void> {
    const { notifier: name, alert } = input;
    const order = orderTopic(input);
    const earlier = await context.transaction(async (tx) => {
      await context.expectIn(tx, order);
      return tx.db
        .selectFrom('deliveries')
        .innerJoin('work_items', 'work_items.id', 'deliveries.id')
        .select('deliveries.id')
        .where('alert_id', '=', alert.id)
        .where('turn', '<', input.turn)
        .where('notifier', '=', name)
        .where('state', 'in', ['queued', 'running', 'waiting'])
        .limit(1)
        .executeTakeFirst();
    });
    if (earlier !== undefined) context.stepAside({ wakeOn: order, atLatestMs: limits.deliveryTimeoutMs });
    const topic = turnTopic(name);
    await context.transaction((tx) => context.expectIn(tx, topic));
    if (this.#busy.has(name)) context.stepAside({ wakeOn: topic, atLatestMs: limits.deliveryTimeoutMs });
    this.#busy.add(name);
  }

  /** Another try after a pause that doubles, or as the receiver said. @throws `error` after too many. */
  async #later(context: Context, input: Deliver, error: BringupError): Promise<never> {
    const { notifier: name } = input;
    const failures = (context.checkpoint?.failures ?? 0) + 1;
    const lasts = !error.retryable || failures >= limits.deliveryAttempts;
    await context.transaction(async (tx) => {
      await context.saveIn(tx, { failures });
      await wake(tx, turnTopic(name), 1);
      if (lasts) await wake(tx, orderTopic(input));
    });
    if (lasts) {
      context.logger.error({ error, notifier: name }, 'an alert could not be delivered');
      throw error;
    }
    const { retryAfterMs } = error.details;
    const doubled = limits.deliveryBackoffMs * 2 ** (failures - 1);
    const wanted = Math.max(doubled, typeof retryAfterMs === 'number' ? retryAfterMs : 0);
    return context.stepAside({ atLatestMs: Math.min(wanted, limits.deliveryBackoffMaxMs) });
  }
}

/** What is still to be told of an alert is woken by. */
function spreadTopic(alertId: string): string {
  return `spread:${alertId}`;
}

/** What later deliveries of the same alert to the same notifier are woken by. */
function orderTopic({ notifier, alert }: Deliver): string {
  return `delivered:${alert.id}:${notifier}`;
}

/** What deliveries that wait for their turn at a notifier are woken by. */
function turnTopic(name: string): string {
  return `notifier:${name}`;
}
