import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { release } from '../pool/reservations.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import type { DeploymentServices } from './services.ts';
import { deploymentRecord, vmName } from './records.ts';

/** A release as it is queued. */
export interface ReleaseInput {
  readonly deploymentId: string;
}

interface Checkpoint {
  readonly failures: number;
}

/**
 * Gives an environment back: first the VM goes, then the capacity it took is free. A host that is
 * out of reach is tried again for a while; then the capacity is freed all the same, since nothing
 * may stay reserved for ever, and the error names the VM that a person must remove.
 */
export class ReleaseHandler implements WorkHandler<ReleaseInput, null, Checkpoint> {
  readonly kind = 'release';
  readonly uncancellable = true;
  readonly #services: DeploymentServices;

  constructor(services: DeploymentServices) {
    this.#services = services;
  }

  async run(context: WorkContext<Checkpoint>, { deploymentId }: ReleaseInput): Promise<WorkResult<null>> {
    const { hostId, vm, releasedAt } = await deploymentRecord(this.#services.store, deploymentId);
    if (releasedAt === undefined && hostId !== undefined && vm !== undefined) {
      try {
        const host = await this.#services.host(hostId);
        await using session = await this.#services.connectors.openHost(host, { signal: context.signal });
        await session.hypervisor.destroyVm(vmName(deploymentId), { signal: context.signal });
      } catch (error) {
        context.signal.throwIfAborted();
        const failures = (context.checkpoint?.failures ?? 0) + 1;
        const gone = isBringupError(error, 'not-found');
        if (gone || failures >= limits.releaseAttempts) throw leftBehind(deploymentId, hostId, error);
        context.logger.warn({ error, deployment: deploymentId }, 'the VM could not be removed yet');
        await context.save({ failures });
        return context.stepAside({ atLatestMs: 1000 * 2 ** failures });
      }
    }
    return { output: null, commit: (tx) => this.#free(context, deploymentId, tx) };
  }

  async #free(
    context: WorkContext,
    deploymentId: string,
    tx: Parameters<NonNullable<WorkResult<null>['commit']>>[0],
  ): Promise<void> {
    const now = context.clock.now();
    const row = await tx.db
      .selectFrom('deployments')
      .select('reservation_id')
      .where('id', '=', deploymentId)
      .executeTakeFirst();
    if (typeof row?.reservation_id === 'string') await release(tx, row.reservation_id, now);
    await tx.db
      .updateTable('deployments')
      .set({ released_at: now })
      .where('id', '=', deploymentId)
      .where('released_at', 'is', null)
      .execute();
  }

  async cleanUp(context: WorkContext<Checkpoint>, { deploymentId }: ReleaseInput): Promise<void> {
    await context.transaction((tx) => this.#free(context, deploymentId, tx));
  }
}

function leftBehind(deploymentId: string, hostId: string, cause: unknown): BringupError {
  const vm = vmName(deploymentId);
  return new BringupError(
    'hypervisor-failed',
    isBringupError(cause, 'not-found')
      ? `host ${hostId} of the VM ${vm} is not in the pool any more; remove the VM by hand`
      : `the VM ${vm} could not be removed from host ${hostId} in ${limits.releaseAttempts} tries; remove it by hand`,
    { cause, details: { vm, hostId, deploymentId } },
  );
}
