import type { Selectable } from 'kysely';
import type { VmSpec } from '../contracts/hypervisor.ts';
import { BringupError } from '../errors.ts';
import type { DeploymentRow } from '../store/schema.ts';
import type { Store } from '../store/store.ts';

/** A deployment's record as the handlers use it. */
export interface DeploymentRecord {
  readonly id: string;
  readonly hostId: string | undefined;
  readonly reservationId: string | undefined;
  readonly buildId: string | undefined;
  readonly vm: VmSpec | undefined;
  readonly bootId: string | undefined;
  readonly releasedAt: number | undefined;
}

/** @throws `not-found`. */
export async function deploymentRecord(store: Store, id: string): Promise<DeploymentRecord> {
  const row = await store.db.selectFrom('deployments').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw new BringupError('not-found', `there is no deployment ${id}`, { details: { id } });
  return toRecord(row);
}

function toRecord(row: Selectable<DeploymentRow>): DeploymentRecord {
  return {
    id: row.id,
    hostId: row.target_id ?? undefined,
    reservationId: row.reservation_id ?? undefined,
    buildId: row.build_id ?? undefined,
    vm: row.vm === null ? undefined : (JSON.parse(row.vm) as VmSpec),
    bootId: row.boot_id ?? undefined,
    releasedAt: row.released_at ?? undefined,
  };
}

/** Name of a deployment's VM on its host. */
export function vmName(deploymentId: string): string {
  return `bringup-${deploymentId}`;
}

/** Id of the log of what the console said during a boot. */
export function bootLogId(bootId: string): string {
  return `boot/${bootId}`;
}
