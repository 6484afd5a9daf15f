import { raiseAlert } from '../alerts/raise.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { halfFlashed } from '../power/intervention.ts';
import { changeStatus } from '../pool/status.ts';
import type { Store, StoreTransaction } from '../store/store.ts';

const unfinished = ['queued', 'running', 'waiting'];

/**
 * Puts boards right that are `flashing` or in `recovery` though no work goes on with them: whose clean-up failed, or
 * killed every process that tried it. Nobody else would look at them again. One that was flashed has to be flashed by a
 * person; the other is offline, and health finds out whether it answers, and cycles its power.
 */
export async function releaseAbandonedBoards(
  store: Store,
  services: { readonly clock: Clock; readonly random: Random },
): Promise<void> {
  // A read first: nearly always there is none.
  const suspects = [...(await abandonedFlashes(store)), ...(await abandonedRecoveries(store))];
  if (suspects.length === 0) return;
  await store.transaction(async (tx) => {
    const now = services.clock.now();
    for (const { id, name } of await abandonedFlashes(tx)) {
      const reason = 'its flash ended without anybody putting it in order; flash it again';
      await changeStatus(tx, id, { status: 'offline', reason, block: [halfFlashed], now });
      const trouble = {
        type: 'flash-failed',
        severity: 'critical',
        subject: id,
        message: `${name}: ${reason}`,
      } as const;
      await raiseAlert(tx, trouble, services);
    }
    for (const { id } of await abandonedRecoveries(tx)) {
      const reason = 'a change of its power ended without anybody putting it in order';
      await changeStatus(tx, id, { status: 'offline', reason, now });
    }
  });
}

type Reader = Pick<StoreTransaction, 'db'> | Pick<Store, 'db'>;

/** Whoever flashes a board has a checkpoint from the moment the board is `flashing`; others only wait for it. */
function abandonedFlashes({ db }: Reader) {
  return db
    .selectFrom('resources')
    .select(['id', 'name'])
    .where('kind', '=', 'board')
    .where('status', '=', 'flashing')
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('flashes')
            .innerJoin('work_items', 'work_items.id', 'flashes.id')
            .select('flashes.id')
            .whereRef('flashes.board_id', '=', 'resources.id')
            .where('work_items.state', 'in', unfinished)
            .where('work_items.checkpoint', 'is not', null),
        ),
      ),
    )
    .execute();
}

function abandonedRecoveries({ db }: Reader) {
  return db
    .selectFrom('resources')
    .select(['id', 'name'])
    .where('kind', '=', 'board')
    .where('status', '=', 'recovery')
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('power_events')
            .innerJoin('work_items', 'work_items.id', 'power_events.id')
            .select('power_events.id')
            .whereRef('power_events.board_id', '=', 'resources.id')
            .where('work_items.state', 'in', unfinished),
        ),
      ),
    )
    .execute();
}
