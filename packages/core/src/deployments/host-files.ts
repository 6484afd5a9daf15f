import type { Logger } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { Host } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Store } from '../store/store.ts';

/**
 * Removes deployed files that nobody has used for long, and parts of uploads that nobody goes on with. `$1` folder,
 * `$2` minutes, then the names of files in use: those count as used now, for every lab that shares the folder.
 */
export const tidyFilesScript: string = `set -u
cd -- "$1" 2> /dev/null || exit 0
minutes=$2
shift 2
for name do touch -c -- "$name"; done 2> /dev/null
find . ! -name . -prune -type f -mmin +"$minutes" -exec rm -f -- {} ';'
find . ! -name . -prune -type f -name '.bringup-*.part' -mtime +1 -exec rm -f -- {} ';'
`;

/** What files are tidied up with. */
export interface HostFileServices {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly logger: Logger;
  /** Hosts that may be connected to now. */
  readonly hosts: () => Promise<readonly Host[]>;
}

/** Where a host has the files that are deployed there, each under its SHA-256. */
export function filesFolder({ workspace }: Host): string {
  return `${workspace}/files`;
}

/**
 * Removes from hosts what was deployed there and is used by nobody any more, `limits.hostFilesKeepMs` later: until then
 * it need not be sent again. A host that can't be reached has its turn the next time.
 */
export async function tidyHostFiles(services: HostFileServices, signal: AbortSignal): Promise<void> {
  const { store, connectors, logger } = services;
  const minutes = Math.ceil(limits.hostFilesKeepMs / 60_000);
  for (const host of await services.hosts()) {
    try {
      const argv = ['sh', '-c', tidyFilesScript, 'bringup-tidy', filesFolder(host), `${minutes}`];
      await using session = await connectors.openShell(host, { signal });
      await session.exec([...argv, ...(await filesInUse(store, host.id))], { signal, timeoutMs: limits.hashTimeoutMs });
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ error, host: host.id }, 'deployed files could not be tidied up');
    }
  }
}

/** What environments that are not given back boot from, or will. */
async function filesInUse({ db }: Store, hostId: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('deployments as d')
    .innerJoin('environments as e', 'e.id', 'd.environment_id')
    .select(['d.vm', 'd.artifact_ids'])
    .where('d.target_id', '=', hostId)
    .where('e.released_at', 'is', null)
    .execute();
  const ids = rows.flatMap(({ artifact_ids }) => JSON.parse(artifact_ids) as string[]);
  const artifacts =
    ids.length === 0 ? [] : await db.selectFrom('artifacts').select('sha256').where('id', 'in', ids).execute();
  // The artifacts of a VM may have been deleted since; its files are still named in it.
  const ofVms = rows.flatMap(({ vm }) => vm?.match(/\b[0-9a-f]{64}\b/g) ?? []);
  return [...new Set([...artifacts.map(({ sha256 }) => sha256), ...ofVms])];
}
