import { raiseAlert } from '../alerts/raise.ts';
import type { Random } from '../contracts/runtime.ts';
import { isBringupError, type BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DeploymentTargetType } from '../model/deployment.ts';
import { release } from '../pool/reservations.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import type { DeploymentTarget, ProvisionedPlace } from './target.ts';
import { vmLeftBehind } from './vm-target.ts';

/** A release as it is queued: of an environment, or of a place that a deployment has left. */
export type ReleaseInput = { readonly environmentId: string } | { readonly place: ProvisionedPlace };

interface Checkpoint {
  readonly failures: number;
}

/**
 * Gives an environment back: first what runs there ends, then the capacity it took is free. A host
 * that is out of reach is tried again for a while; then the capacity is freed all the same, since
 * nothing may stay reserved for ever, and an alert names the VM that a person must remove.
 */
export class ReleaseHandler implements WorkHandler<ReleaseInput, null, Checkpoint> {
  readonly kind = 'release';
  readonly uncancellable = true;
  readonly #store: Store;
  readonly #targets: Readonly<Record<DeploymentTargetType, DeploymentTarget>>;

  readonly #random: Random;

  constructor(store: Store, targets: Readonly<Record<DeploymentTargetType, DeploymentTarget>>, random: Random) {
    this.#store = store;
    this.#random = random;
    this.#targets = targets;
  }

  async run(context: WorkContext<Checkpoint>, input: ReleaseInput): Promise<WorkResult<null>> {
    const places = 'place' in input ? [input.place] : await this.#placesOf(input.environmentId);
    for (const place of places) {
      try {
        await this.#targets[place.targetType].dismantle(context, place);
      } catch (error) {
        context.signal.throwIfAborted();
        const failures = (context.checkpoint?.failures ?? 0) + 1;
        const gone = isBringupError(error, 'not-found');
        if (gone || failures >= limits.releaseAttempts) throw vmLeftBehind(place, error);
        context.logger.warn({ error, deployment: place.deploymentId }, 'what runs there could not be ended yet');
        await context.save({ failures });
        return context.stepAside({ atLatestMs: 1000 * 2 ** failures });
      }
    }
    return { output: null, commit: (tx) => this.#free(context, input, tx) };
  }

  /** Where deployments of an environment that was not given back yet have put something. */
  async #placesOf(environmentId: string): Promise<ProvisionedPlace[]> {
    const rows = await this.#store.db
      .selectFrom('environments as e')
      .innerJoin('deployments as d', 'd.environment_id', 'e.id')
      .select(['d.id', 'd.target_type', 'd.target_id', 'd.vm', 'e.reservation_id'])
      .where('e.id', '=', environmentId)
      .where('e.released_at', 'is', null)
      .whereRef('d.target_id', '=', 'e.target_id')
      .execute();
    return rows.flatMap(({ id, target_type, target_id, vm, reservation_id }) =>
      target_id === null || reservation_id === null
        ? []
        : [
            {
              deploymentId: id,
              targetType: target_type as DeploymentTargetType,
              targetId: target_id,
              reservationId: reservation_id,
              begun: vm !== null,
            },
          ],
    );
  }

  async #free(context: WorkContext, input: ReleaseInput, tx: StoreTransaction): Promise<void> {
    const now = context.clock.now();
    if ('place' in input) {
      await release(tx, input.place.reservationId);
      return;
    }
    const row = await tx.db
      .updateTable('environments')
      .set({ released_at: now, expires_at: null })
      .where('id', '=', input.environmentId)
      .where('released_at', 'is', null)
      .returning('reservation_id')
      .executeTakeFirst();
    if (typeof row?.reservation_id === 'string') await release(tx, row.reservation_id);
  }

  async cleanUp(context: WorkContext<Checkpoint>, input: ReleaseInput, error: BringupError): Promise<void> {
    const { deploymentId, vm, hostId } = error.details;
    await context.transaction(async (tx) => {
      await this.#free(context, input, tx);
      if (typeof deploymentId !== 'string' || vm === undefined || hostId === undefined) return;
      const trouble = {
        type: 'left-behind',
        severity: 'warning',
        subject: deploymentId,
        message: error.message,
      } as const;
      await raiseAlert(tx, { ...trouble, details: { vm, hostId } }, { clock: context.clock, random: this.#random });
    });
  }
}
