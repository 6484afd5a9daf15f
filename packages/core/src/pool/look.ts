import { sleep, withDeadline } from '../async.ts';
import { raiseAlert, resolveAlert } from '../alerts/raise.ts';
import type { CallOptions, Clock, Logger, Random } from '../contracts/runtime.ts';
import { isBringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ResourceKind } from '../model/resource.ts';
import type { Store } from '../store/store.ts';
import type { Connectors } from './connectors.ts';
import type { Look, ResourceKindModule } from './kind.ts';

/** What the pool is made of. */
export interface PoolOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly connectors: Connectors;
}

/** Opens a connection. A time-out is tried again `limits.connectRetries` times, each pause twice the one before. */
export async function connectPatiently<T>(clock: Clock, signal: AbortSignal, open: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries += 1) {
    try {
      return await open();
    } catch (error) {
      if (!isTimeout(error) || retries >= limits.connectRetries) throw error;
      await sleep(clock, limits.connectBackoffMs * 2 ** retries, signal);
    }
  }
}

/** Nobody answered in time, as far as our clock or the network's goes. A refusal is an answer. */
function isTimeout(error: unknown): boolean {
  if (isBringupError(error, 'deadline-exceeded')) return true;
  return isBringupError(error, 'connection-failed') && error.details['reason'] === 'ETIMEDOUT';
}

/**
 * Looks at a resource that may not be in the pool yet.
 * @throws what its kind does; a refused login is logged and raises an alert before it is thrown.
 */
export async function lookAt<R, D>(
  pool: PoolOptions,
  kind: ResourceKindModule<R, unknown, D>,
  registration: R,
  { id, signal, timeoutMs, quietly = false }: CallOptions & { readonly id: string; readonly quietly?: boolean },
): Promise<D> {
  const { store, clock, random, connectors, logger } = pool;
  const name = kind.nameOf(registration);
  const bounds = { ...(signal !== undefined && { signal }), ...(timeoutMs !== undefined && { timeoutMs }) };
  try {
    return await withDeadline(clock, `looking at the ${kind.title} ${name}`, bounds, (within) => {
      const look: Look = {
        id,
        connectors,
        clock,
        random,
        signal: within,
        patiently: (open) => connectPatiently(clock, within, open),
        othersWith: (trait) => namesWith(pool, kind.kind, trait),
        isHeld: () => isHeld(pool, id),
      };
      return kind.detect(registration, look);
    });
  } catch (error) {
    if (!quietly && isBringupError(error, 'authentication-failed')) {
      logger.error({ error, kind: kind.kind, name }, 'a registration failed: the login was refused');
      const { message, details } = toBringupError(error);
      const trouble = {
        type: 'authentication-failed',
        severity: 'critical',
        subject: registrationSubject(kind.kind, name),
        message: `the ${kind.title} ${name} could not be registered: ${message}`,
        details,
      } as const;
      await store.transaction((tx) => raiseAlert(tx, trouble, { clock, random }));
    }
    throw error;
  }
}

/** What alerts about the registration of a resource that is not in the pool are about. */
export function registrationSubject(kind: ResourceKind, name: string): string {
  return `registration:${kind}:${name}`;
}

/** Ends the alert that earlier tries to register it may have raised. */
export function registrationSucceeded(
  tx: Parameters<typeof resolveAlert>[0],
  kind: ResourceKind,
  name: string,
  now: number,
): Promise<void> {
  const subject = registrationSubject(kind, name);
  return resolveAlert(tx, { type: 'authentication-failed', subject }, 'it was registered', now);
}

async function isHeld({ store }: PoolOptions, id: string): Promise<boolean> {
  const holders = store.db.selectFrom('reservations').select('id').where('resource_id', '=', id);
  return (await holders.limit(1).executeTakeFirst()) !== undefined;
}

async function namesWith({ store }: PoolOptions, kind: ResourceKind, trait: string): Promise<string[]> {
  const rows = await store.db
    .selectFrom('traits')
    .innerJoin('resources', 'resources.id', 'traits.resource_id')
    .select('resources.name')
    .where('traits.trait', '=', trait)
    .where('resources.kind', '=', kind)
    .orderBy('resources.name')
    .limit(limits.pageSize)
    .execute();
  return rows.map(({ name }) => name);
}
