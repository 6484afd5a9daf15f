import { BringupError } from '../errors.ts';
import { boardKind } from '../pool/kinds/board.ts';
import type { StoredStatus } from '../pool/status.ts';
import type { Store } from '../store/store.ts';
import type { PowerInput } from './records.ts';

/**
 * Whether a board's power may be touched at this moment: never while it is flashed, which would ruin
 * it; while somebody holds it, only for them, unless forced.
 * @throws `not-found`, `conflict`.
 */
export async function checkPermission(
  { db }: { readonly db: Pick<Store['db'], 'selectFrom'> },
  { boardId, holder, force }: Pick<PowerInput, 'boardId' | 'holder' | 'force'>,
): Promise<{ readonly status: StoredStatus }> {
  const row = await db
    .selectFrom('resources')
    .select(['name', 'status'])
    .where('id', '=', boardId)
    .where('kind', '=', boardKind.kind)
    .executeTakeFirst();
  if (row === undefined) throw new BringupError('not-found', `there is no board ${boardId}`, { details: { boardId } });
  if (row.status === 'flashing') {
    throw new BringupError('conflict', `${row.name} is being flashed: cutting its power now could ruin it`, {
      retryable: true,
      details: { boardId, status: row.status },
    });
  }
  const others = await db
    .selectFrom('reservations')
    .select('holder')
    .where('resource_id', '=', boardId)
    .$if(holder !== undefined, (query) => query.where('holder', '!=', holder ?? ''))
    .execute();
  if (others.length > 0 && force !== true) {
    const holders = others.map((other) => other.holder);
    throw new BringupError(
      'conflict',
      `${row.name} is in use by ${holders.join(', ')}; wait for its release, ask as its holder, or use force`,
      { retryable: true, details: { boardId, holders } },
    );
  }
  return { status: row.status as StoredStatus };
}
