import type { Clock, Random } from '../contracts/runtime.ts';
import type { Store } from '../store/store.ts';
import { raiseAlert, resolveAlert } from './raise.ts';

/**
 * Raises an alert when the artifact storage is full, and for each artifact whose bytes are damaged.
 * Ends it when there is room again, and when the bytes were stored anew or the artifact is gone.
 */
export function alertOfStorage(store: Store, services: { readonly clock: Clock; readonly random: Random }): void {
  store.react('storage:full', async (tx, _subject, { freeBytes, neededBytes }) => {
    const facts = { freeBytes: freeBytes ?? null, neededBytes: neededBytes ?? null };
    const message =
      'the artifact storage is full: new builds wait; free space, or remove artifacts with cleanupOldArtifacts';
    const trouble = { type: 'storage-full', severity: 'critical', subject: '', message, details: facts } as const;
    await raiseAlert(tx, trouble, services);
  });
  store.react('storage:room', (tx) =>
    resolveAlert(tx, { type: 'storage-full', subject: '' }, 'there is room again', services.clock.now()),
  );
  store.react('artifact:corrupted', async (tx, id, { sha256 }) => {
    const artifact = await tx.db
      .selectFrom('artifacts')
      .select(['filename', 'build_id'])
      .where('id', '=', id)
      .executeTakeFirst();
    const message = `the stored bytes of ${artifact?.filename ?? id} are damaged and are not served; build it again, or store the file again`;
    const details = { sha256, buildId: artifact?.build_id ?? null };
    await raiseAlert(tx, { type: 'artifact-corrupted', severity: 'critical', subject: id, message, details }, services);
  });
  store.react('artifact:healed', (tx, id) =>
    resolveAlert(tx, { type: 'artifact-corrupted', subject: id }, 'the bytes were stored again', services.clock.now()),
  );
}
