import type { CallOptions, Logger } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { limits } from '../limits.ts';
import type { BuildServer } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Store } from '../store/store.ts';
import { stopDetached } from '../work/detached.ts';
import { markOver, removeFolder } from './housekeeping.ts';
import { buildsFolder, jobFolder, overMark } from './services.ts';

/** What is looked for left builds with. */
export interface LeftBuildServices {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly logger: Logger;
  /** Build servers that may be connected to now. */
  readonly servers: () => Promise<readonly BuildServer[]>;
}

/**
 * Stops and removes builds on servers that were out of reach when their build ended or went elsewhere. What the store
 * does not know is left alone: it may be of another lab. A server that can't be reached has its turn the next time.
 */
export async function removeLeftBuilds(services: LeftBuildServices, signal: AbortSignal): Promise<void> {
  const { connectors, logger } = services;
  for (const server of await services.servers()) {
    try {
      await using session = await connectors.openShell(server, { signal });
      for (const id of await leftOn(services.store, server, await buildsOn(session, server, { signal }))) {
        const folder = jobFolder(server, id);
        await markOver(session, overMark(server, id), signal);
        await stopDetached(session, folder, { signal });
        await removeFolder(session, folder, signal);
        logger.warn({ server: server.id, build: id }, 'a build that nobody waits for was removed from its server');
      }
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ error, server: server.id }, 'builds that nobody waits for could not be searched for');
    }
  }
}

async function buildsOn(session: ShellSession, server: BuildServer, options: CallOptions): Promise<readonly string[]> {
  const call = { timeoutMs: limits.execTimeoutMs, ...options };
  const { exitCode, stdout } = await session.exec(['ls', '--', buildsFolder(server)], call);
  // Nothing has been built there yet.
  return exitCode === 0 ? stdout.toString('utf8').split('\n').filter(Boolean) : [];
}

/** Those of the builds that have ended, or are on another server now. */
async function leftOn({ db }: Store, server: BuildServer, ids: readonly string[]): Promise<readonly string[]> {
  const left: string[] = [];
  for (let at = 0; at < ids.length; at += limits.leftBuildsBatch) {
    const rows = await db
      .selectFrom('builds')
      .innerJoin('work_items', 'work_items.id', 'builds.id')
      .select('builds.id')
      .where('builds.id', 'in', ids.slice(at, at + limits.leftBuildsBatch))
      .where((eb) =>
        eb.or([
          eb('work_items.state', 'in', ['succeeded', 'failed', 'cancelled']),
          eb('builds.server_id', '!=', server.id),
        ]),
      )
      .execute();
    left.push(...rows.map(({ id }) => id));
  }
  return left;
}
