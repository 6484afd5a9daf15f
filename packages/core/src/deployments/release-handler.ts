import type { Random } from '../contracts/runtime.ts';
import { isBringupError, type BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isVmStuck } from '../local/vm-spec.ts';
import type { DeploymentTargetType } from '../model/deployment.ts';
import { release } from '../pool/reservations.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import { raiseLeftBehind, vmLeftBehind } from './left-behind.ts';
import { vmOf } from './records.ts';
import type { DeploymentTarget, ProvisionedPlace } from './target.ts';

/** A release as it is queued: of an environment, or of a place that a deployment has left. */
export type ReleaseInput = { readonly environmentId: string } | { readonly place: ProvisionedPlace };

interface Checkpoint {
  readonly failures: number;
}

/** What could not be taken back, and why. */
interface Left {
  readonly place: ProvisionedPlace;
  readonly error: unknown;
}

/** Whether trying again is of no use. */
function isHopeless({ error }: Left): boolean {
  return isBringupError(error, 'not-found') || isVmStuck(error);
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
    const left: Left[] = [];
    for (const place of places) {
      try {
        await this.#targets[place.targetType].dismantle(context, place);
      } catch (error) {
        context.signal.throwIfAborted();
        context.logger.warn({ error, deployment: place.deploymentId }, 'what runs there could not be ended yet');
        left.push({ place, error });
      }
    }
    const failures = (context.checkpoint?.failures ?? 0) + 1;
    if (failures < limits.releaseAttempts && !left.every(isHopeless)) {
      await context.save({ failures });
      return context.stepAside({ atLatestMs: 1000 * 2 ** failures });
    }
    const [first] = left;
    if (first !== undefined) throw vmLeftBehind(first.place, first.error);
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
    return rows.flatMap((row) => {
      const { id, target_type, target_id, reservation_id } = row;
      if (target_id === null || reservation_id === null) return [];
      const vm = vmOf(row)?.name;
      const targetType = target_type as DeploymentTargetType;
      const place = { deploymentId: id, targetType, targetId: target_id, reservationId: reservation_id };
      return [{ ...place, ...(vm !== undefined && { vm }) }];
    });
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
      if (typeof deploymentId !== 'string' || typeof vm !== 'string' || typeof hostId !== 'string') return;
      const left = { deploymentId, vm, hostId, message: error.message };
      await raiseLeftBehind(tx, left, { clock: context.clock, random: this.#random });
    });
  }
}
