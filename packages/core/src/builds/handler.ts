import type { NewArtifact } from '../artifacts/records.ts';
import { storageTopic } from '../artifacts/room.ts';
import { raiseAlert, resolveAlert } from '../alerts/raise.ts';
import { fromStoredError, isBringupError, toBringupError, type BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BuildRequest } from '../model/build.ts';
import type { BuildServer } from '../model/resource.ts';
import { learnBuildTime } from '../selection/build-times.ts';
import { giveUpWaiting, obtain } from '../selection/obtain.ts';
import { buildRequest } from '../selection/requests.ts';
import { followDetached, stopDetached } from '../work/detached.ts';
import { SteppedAside, type WorkContext, type WorkHandler, type WorkResult } from '../work/handler.ts';
import { SessionHolder } from '../work/session.ts';
import { release } from '../pool/reservations.ts';
import type { StoreTransaction } from '../store/store.ts';
import { BuildAttempt } from './attempt.ts';
import { cleanServer, markOver, readResourceUse, removeFolder } from './housekeeping.ts';
import {
  buildLogId,
  jobFolder,
  overMark,
  type BuildCheckpoint,
  type BuildServices,
  type HeldServer,
} from './services.ts';
import { isServerTrouble } from './trouble.ts';

type Context = WorkContext<BuildCheckpoint>;

/** What a finished build gives. */
export interface BuildOutput {
  readonly commitHash: string;
  readonly artifactIds: readonly string[];
}

/**
 * Turns source into artifacts: reserve a server, run the recipe detached, follow it, collect. What is
 * the server's fault and not the source's is tried on another one.
 */
export class BuildHandler implements WorkHandler<BuildRequest, BuildOutput, BuildCheckpoint> {
  readonly kind = 'build';
  readonly #services: BuildServices;

  constructor(services: BuildServices) {
    this.#services = services;
  }

  async run(context: Context, request: BuildRequest): Promise<WorkResult<BuildOutput>> {
    for (;;) {
      if (context.checkpoint?.held === undefined) await this.#waitForStorage(context);
      const held = context.checkpoint?.held ?? (await this.#reserve(context, request));
      const leaving = context.checkpoint?.leaving;
      if (leaving !== undefined) {
        await this.#goAway(context, held, fromStoredError(leaving));
        continue;
      }
      try {
        return await this.#runOn(context, request, held);
      } catch (error) {
        if (error instanceof SteppedAside || context.signal.aborted) throw error;
        if (isBringupError(error, 'storage-full')) {
          await this.#waitForStorage(context);
          continue;
        }
        await this.#leave(context, request, held, toBringupError(error));
      }
    }
  }

  async #runOn(context: Context, request: BuildRequest, held: HeldServer): Promise<WorkResult<BuildOutput>> {
    const server = await this.#services.buildServer(held.serverId);
    await using sessions = this.#sessions(context, server);
    if (context.checkpoint?.collected !== true) {
      await new BuildAttempt(this.#services, context, request, { held, server, sessions }).run();
    }
    await context.phase('collecting');
    const { commitHash = '', fetched = [] } = context.checkpoint ?? {};
    const log = await this.#keepLog(context);
    const use = await this.#tidyUp(context, sessions, server);
    const output: { commitHash: string; artifactIds: string[] } = { commitHash, artifactIds: [] };
    return {
      output,
      commit: async (tx) => {
        const artifacts = await this.#record(tx, context, request, [...fetched, log]);
        output.artifactIds.push(...artifacts.map((artifact) => artifact.id));
        const now = context.clock.now();
        const { serverId } = held;
        await tx.db
          .updateTable('builds')
          .set({ succeeded_at: now, commit_hash: commitHash, resource_use: use && JSON.stringify(use) })
          .where('id', '=', context.id)
          .execute();
        const key = { repository: request.sourceRepository, architecture: request.targetArchitecture, serverId };
        await learnBuildTime(tx, key, (now - held.since) / 1000, now);
        await resolveAlert(tx, { type: 'disk-full', subject: serverId }, 'a build had room again', now);
        await release(tx, held.reservationId);
      },
    };
  }

  /** While the artifact storage is full, nothing new is begun, and what is done waits where it is. */
  async #waitForStorage(context: Context): Promise<void> {
    if ((await this.#services.artifacts.room.full()) === undefined) return;
    const full = await context.transaction(async (tx) => {
      await context.expectIn(tx, storageTopic);
      if (!(await this.#services.artifacts.room.isFullIn(tx))) return false;
      await context.phaseIn(tx, 'storage-full');
      return true;
    });
    if (full) context.stepAside({ wakeOn: storageTopic });
  }

  #record(tx: StoreTransaction, context: Context, request: BuildRequest, files: readonly NewArtifact[]) {
    const metadata = {
      ...(context.checkpoint?.commitHash !== undefined && { commit: context.checkpoint.commitHash }),
      repository: request.sourceRepository,
      branch: request.branch ?? 'HEAD',
    };
    const origin = { producerId: context.id, buildId: context.id, architecture: request.targetArchitecture, metadata };
    return this.#services.artifacts.record(tx, origin, files);
  }

  /** Everything is stored by now: a folder that stays behind is no reason to fail. */
  async #tidyUp(
    context: Context,
    sessions: SessionHolder,
    server: BuildServer,
  ): Promise<Awaited<ReturnType<typeof readResourceUse>> | null> {
    const folder = jobFolder(server, context.id);
    try {
      return await sessions.run(async (session) => {
        const use = await readResourceUse(session, folder, context.signal);
        await markOver(session, overMark(server, context.id), context.signal);
        await removeFolder(session, folder, context.signal);
        return use ?? null;
      });
    } catch (error) {
      context.signal.throwIfAborted();
      context.logger.warn({ error, build: context.id }, 'the folder of a finished build could not be removed');
      return null;
    }
  }

  async #reserve(context: Context, request: BuildRequest): Promise<HeldServer> {
    const { tried = [], trouble } = context.checkpoint ?? {};
    const logStart = (await this.#services.logs.stat(buildLogId(context.id)))?.sizeBytes ?? 0;
    const { sourceRepository: repository, targetArchitecture: architecture } = request;
    const expected = await this.#services.selection.estimateBuildTime({ repository, architecture });
    try {
      return await obtain(context, this.#services.selection, {
        request: { ...buildRequest({ ...request, recipe: request.buildConfig.recipe }), exclude: tried },
        ...(expected !== undefined && { expectedMs: Math.round(expected.seconds * 1000) }),
        record: async (tx, { id: reservationId, resourceId: serverId }) => {
          const held = { serverId, reservationId, since: context.clock.now(), logStart };
          await context.saveIn(tx, { tried, fetched: [], ...(trouble !== undefined && { trouble }), held });
          await tx.db.updateTable('builds').set({ server_id: serverId }).where('id', '=', context.id).execute();
          return held;
        },
      });
    } catch (error) {
      // Nowhere else to go: what made it leave the last server says more.
      throw trouble !== undefined && isBringupError(error, 'no-match') ? fromStoredError(trouble) : error;
    }
  }

  /**
   * Decides to go away from a server on which the build failed for the server's own reasons, so that it is tried
   * elsewhere; a full one is cleaned up first and gets a second chance.
   * @throws `error` when it is the source's fault, or the build may run nowhere else.
   */
  async #leave(context: Context, request: BuildRequest, held: HeldServer, error: BringupError): Promise<void> {
    if (!isServerTrouble(error)) throw error;
    const { tried = [] } = context.checkpoint ?? {};
    const last = request.serverId !== undefined || tried.length + 1 >= limits.buildServersTried;
    if (last && !getsSecondChance(context, error)) {
      await this.#makeRoom(context, held, error);
      throw error;
    }
    // Remembered before anything is removed: whoever takes the build over must not go on with it as if it were there.
    await context.save({ tried, fetched: [], ...context.checkpoint, leaving: error.toJSON() });
  }

  /** Goes away, all of it or, when the build is taken over in between, once more. */
  async #goAway(context: Context, held: HeldServer, error: BringupError): Promise<void> {
    const { tried = [] } = context.checkpoint ?? {};
    const stays = getsSecondChance(context, error);
    await this.#makeRoom(context, held, error);
    await this.#stopAndRemove(context, held, { forGood: !stays }, context.signal).catch((failure: unknown) => {
      context.signal.throwIfAborted();
      context.logger.warn({ error: failure, build: context.id }, 'a build could not be removed from its server');
    });
    await using log = await context.openLog(buildLogId(context.id));
    await log.append(`bringup: ${error.message}; ${stays ? 'made room, building again' : 'trying another server'}\n`);
    // In one with that line: where the next attempt begins in the log must never be in doubt.
    await log.flush(async (tx, logStart) => {
      if (stays) {
        await context.saveIn(tx, { tried, fetched: [], cleaned: true, held: { ...held, logStart } });
        return;
      }
      await release(tx, held.reservationId);
      await context.saveIn(tx, { tried: [...tried, held.serverId], fetched: [], trouble: error.toJSON() });
    });
  }

  /** A full server: tells a person, and removes what nobody needs there, what this build has left included. */
  async #makeRoom(context: Context, held: HeldServer, error: BringupError): Promise<void> {
    if (!isBringupError(error, 'disk-full')) return;
    const { clock } = context;
    const server = await this.#services.buildServer(held.serverId);
    await context.transaction(async (tx) => {
      await context.phaseIn(tx, 'disk-full');
      const trouble = {
        type: 'disk-full',
        severity: 'critical',
        subject: held.serverId,
        message: `the disk of build server ${server.hostname} is full; free space below ${server.workspace}`,
        details: { buildId: context.id, error: error.message },
      } as const;
      await raiseAlert(tx, trouble, { clock, random: this.#services.random });
    });
    try {
      const active = await this.#services.activeBuilds(held.serverId);
      await using session = await this.#services.connectors.openShell(server, { signal: context.signal });
      await stopDetached(session, jobFolder(server, context.id), { signal: context.signal });
      const others = active.filter((id) => id !== context.id);
      await cleanServer(session, server.workspace, others, context.signal);
    } catch (failure) {
      context.signal.throwIfAborted();
      context.logger.warn({ error: failure, server: held.serverId }, 'a full build server could not be cleaned up');
    }
  }

  #sessions(context: Context, server: BuildServer): SessionHolder {
    const { clock, signal } = context;
    return new SessionHolder(() => this.#services.connectors.openShell(server, { signal }), { clock, signal });
  }

  /** Ends the log and keeps it as a file, however the build went. */
  async #keepLog(context: WorkContext): Promise<NewArtifact> {
    await using writer = await context.openLog(buildLogId(context.id));
    await writer.end();
    const { artifacts, logs } = this.#services;
    const blob = await artifacts.put(context.id, () => logs.read(buildLogId(context.id)));
    return { type: 'build_log', filename: 'build.log', ...blob };
  }

  async cleanUp(context: Context, request: BuildRequest, _error: BringupError, signal: AbortSignal): Promise<void> {
    const { held, fetched = [] } = context.checkpoint ?? {};
    if (held === undefined) {
      await context.transaction((tx) => giveUpWaiting(tx, context.id));
    }
    if (context.checkpoint === undefined) return;
    if (held !== undefined) {
      await this.#stopAndRemove(context, held, { forGood: true }, signal).catch((error: unknown) => {
        context.logger.warn({ error, build: context.id }, 'a build could not be removed from its server');
      });
    }
    const log = await this.#keepLog(context).catch((failure: unknown) => {
      // It can still be read where it was written.
      context.logger.warn({ error: failure, build: context.id }, 'the log of a failed build could not be stored');
      return undefined;
    });
    await context.transaction(async (tx) => {
      await this.#record(tx, context, request, log === undefined ? fetched : [...fetched, log]);
      if (held !== undefined) await release(tx, held.reservationId);
    });
  }

  async #stopAndRemove(
    context: Context,
    held: HeldServer,
    { forGood }: { readonly forGood: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const server = await this.#services.buildServer(held.serverId);
    const folder = jobFolder(server, context.id);
    await using session = await this.#services.connectors.openShell(server, { signal });
    if (forGood) await markOver(session, overMark(server, context.id), signal);
    await stopDetached(session, folder, { signal });
    // What it said between the last poll and its end belongs to the log too.
    await using log = await context.openLog(buildLogId(context.id));
    await followDetached({
      connect: async () => session,
      folder,
      offset: log.sizeBytes - held.logStart,
      signal,
      clock: context.clock,
      onBytes: (bytes) => log.append(bytes),
    }).catch(() => undefined);
    await removeFolder(session, folder, signal);
  }
}

/** A full server is cleaned up and tried once more. */
function getsSecondChance(context: Context, error: BringupError): boolean {
  return isBringupError(error, 'disk-full') && context.checkpoint?.cleaned !== true;
}
