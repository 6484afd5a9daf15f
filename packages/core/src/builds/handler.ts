import type { ArtifactRepository, NewArtifact } from '../artifacts/repository.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { BringupError, type ErrorCode, errorCodes } from '../errors.ts';
import type { TransferReport } from '../events.ts';
import { limits } from '../limits.ts';
import type { BuildRequest } from '../model/build.ts';
import type { BuildServer } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import { buildRequest } from '../selection/requests.ts';
import { noMatch, type Selection } from '../selection/select.ts';
import { followDetached, startDetached, stopDetached } from '../work/detached.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import type { LogStore } from '../work/logs.ts';
import { SessionHolder } from '../work/session.ts';
import { capacityTopic, release } from '../pool/reservations.ts';
import { fetchOutput, findOutputs, type FoundOutput } from './collect.ts';
import { errorLines } from './error-lines.ts';
import { planBuild } from './recipes.ts';
import { buildScript, readNoteScript, removeScript } from './scripts.ts';

/** What builds work with. */
export interface BuildServices {
  readonly connectors: Connectors;
  readonly selection: Selection;
  readonly artifacts: ArtifactRepository;
  readonly logs: LogStore;
  readonly buildServer: (id: string) => Promise<BuildServer>;
  /** Hears of bytes on the move. */
  readonly onTransfer: (report: TransferReport) => void;
}

interface Checkpoint {
  readonly serverId: string;
  readonly reservationId: string;
  /** Set once the outputs are in the storage. */
  readonly collected?: readonly NewArtifact[];
  readonly commitHash?: string;
}

/** What a finished build gives. */
export interface BuildOutput {
  readonly commitHash: string;
  readonly artifactIds: readonly string[];
}

/** Id of a build's log. */
export function buildLogId(buildId: string): string {
  return `build/${buildId}`;
}

/** Turns source into artifacts: reserve a server, run the recipe detached, follow it, collect. */
export class BuildHandler implements WorkHandler<BuildRequest, BuildOutput, Checkpoint> {
  readonly kind = 'build';
  readonly #services: BuildServices;

  constructor(services: BuildServices) {
    this.#services = services;
  }

  async run(context: WorkContext<Checkpoint>, request: BuildRequest): Promise<WorkResult<BuildOutput>> {
    const held = context.checkpoint ?? (await this.#reserve(context, request));
    const server = await this.#services.buildServer(held.serverId);
    await using sessions = this.#sessions(context, server);
    const folder = jobFolder(server, context.id);
    const collected = held.collected ?? (await this.#buildAndCollect(context, request, held, server, sessions, folder));
    await context.phase('collecting');
    const commitHash = context.checkpoint?.commitHash ?? '';
    const log = await this.#keepLog(context);
    await this.#tidyUp(context, sessions, folder);
    const output: { commitHash: string; artifactIds: string[] } = { commitHash, artifactIds: [] };
    return {
      output,
      commit: async (tx) => {
        const origin = {
          producerId: context.id,
          buildId: context.id,
          architecture: request.targetArchitecture,
          metadata: { commit: commitHash, repository: request.sourceRepository, branch: request.branch ?? 'HEAD' },
        };
        const artifacts = await this.#services.artifacts.record(tx, origin, [...collected, log]);
        output.artifactIds.push(...artifacts.map((artifact) => artifact.id));
        await tx.db
          .updateTable('builds')
          .set({ succeeded_at: context.clock.now(), commit_hash: commitHash })
          .where('id', '=', context.id)
          .execute();
        await release(tx, held.reservationId, context.clock.now());
      },
    };
  }

  /** Everything is stored by now: a folder that stays behind is no reason to fail. */
  async #tidyUp(context: WorkContext, sessions: SessionHolder, folder: string): Promise<void> {
    try {
      await sessions.run((session) => removeFolder(session, folder, context.signal));
    } catch (error) {
      context.signal.throwIfAborted();
      context.logger.warn({ error, build: context.id }, 'the folder of a finished build could not be removed');
    }
  }

  async #reserve(context: WorkContext<Checkpoint>, request: BuildRequest): Promise<Checkpoint> {
    const wanted = buildRequest(request);
    const topic = capacityTopic('build_server');
    let checkpoint: Checkpoint | undefined;
    const outcome = await this.#services.selection.reserve(
      wanted,
      context.id,
      (change) =>
        context.transaction(async (tx) => {
          await context.expectIn(tx, topic);
          return change(tx);
        }),
      async (tx, reservation) => {
        checkpoint = { serverId: reservation.resourceId, reservationId: reservation.id };
        await context.saveIn(tx, checkpoint);
        await tx.db
          .updateTable('builds')
          .set({ server_id: reservation.resourceId })
          .where('id', '=', context.id)
          .execute();
      },
    );
    if (checkpoint !== undefined) return checkpoint;
    if (outcome.success || !outcome.temporary) throw noMatch(wanted, outcome.success ? [] : outcome.rejections);
    await context.phase('waiting');
    return context.stepAside({ wakeOn: topic, atLatestMs: limits.capacityRetryMs });
  }

  #sessions(context: WorkContext, server: BuildServer): SessionHolder {
    const { clock, signal } = context;
    return new SessionHolder(() => this.#services.connectors.openShell(server, { signal }), { clock, signal });
  }

  async #buildAndCollect(
    context: WorkContext<Checkpoint>,
    request: BuildRequest,
    held: Checkpoint,
    server: BuildServer,
    sessions: SessionHolder,
    folder: string,
  ): Promise<readonly NewArtifact[]> {
    const { signal } = context;
    const plan = planBuild(
      request.buildConfig,
      request.targetArchitecture,
      server.toolchains,
      request.requiredToolchain,
    );
    await context.guard();
    const command = [
      'env',
      ...plan.environment,
      'sh',
      '-c',
      buildScript,
      'bringup-build',
      folder,
      `${server.workspace}/git`,
      request.sourceRepository,
      request.branch ?? 'HEAD',
      request.commitHash ?? '',
      plan.script,
      ...plan.args,
    ];
    await sessions.run((session) => startDetached(session, folder, command, { signal }));
    const commitHash = await this.#follow(context, request, sessions, server);
    await context.phase('collecting');
    const found = await sessions.run((session) =>
      findOutputs(session, `${folder}/${plan.outputFolder}`, plan.outputs, signal),
    );
    for (const output of found) {
      await fetchOutput(sessions, this.#services.artifacts.storage, output, signal, (progress) =>
        this.#services.onTransfer({
          workId: context.id,
          filename: output.filename,
          direction: 'download',
          ...progress,
        }),
      );
    }
    const collected = found.map(({ path: _path, ...artifact }: FoundOutput): NewArtifact => artifact);
    await context.save({ ...held, collected, commitHash });
    return collected;
  }

  /** Follows the build to its end and gives the commit. @throws what made it fail. */
  async #follow(
    context: WorkContext<Checkpoint>,
    request: BuildRequest,
    sessions: SessionHolder,
    server: BuildServer,
  ): Promise<string> {
    const { signal } = context;
    await using log = await context.openLog(buildLogId(context.id));
    let commitHash = '';
    const exitCode = await followDetached({
      connect: () => sessions.get(),
      folder: jobFolder(server, context.id),
      offset: log.sizeBytes,
      signal,
      clock: context.clock,
      onBytes: (bytes) => log.append(bytes),
      onNote: async (note) => {
        const [phase = 'preparing', commit] = note.split(' ');
        await context.phase(phase);
        if (commit !== undefined) {
          commitHash = commit;
          await this.#rememberCommit(context, commit);
        }
      },
    });
    await log.flush();
    if (exitCode === 0) return commitHash;
    throw await sessions.run((session) => this.#failure(context, request, session, server, exitCode));
  }

  async #rememberCommit(context: WorkContext, commitHash: string): Promise<void> {
    await context.transaction(async ({ db }) => {
      await db.updateTable('builds').set({ commit_hash: commitHash }).where('id', '=', context.id).execute();
    });
  }

  async #failure(
    context: WorkContext,
    request: BuildRequest,
    session: ShellSession,
    server: BuildServer,
    exitCode: number,
  ): Promise<BringupError> {
    const failure = `${jobFolder(server, context.id)}/failure`;
    const note = await session.exec(['sh', '-c', readNoteScript, 'bringup-note', failure], { signal: context.signal });
    const code = note.stdout.toString('utf8').trim();
    const log = await this.#logTail(context.id);
    const lines = errorLines(log);
    const details = { repository: request.sourceRepository, server: server.hostname, exitCode, errorLines: lines };
    if ((errorCodes as readonly string[]).includes(code)) {
      // Whoever writes down a code says why in the same breath.
      const said = log.split('\n').findLast((line) => line.startsWith('bringup: ')) ?? lines.join('; ');
      return new BringupError(code as ErrorCode, said.replace(/^bringup: /, ''), { details });
    }
    return new BringupError('build-failed', `the build failed with exit status ${exitCode}: ${lines[0] ?? ''}`, {
      details,
    });
  }

  async #logTail(buildId: string): Promise<string> {
    const logId = buildLogId(buildId);
    const size = (await this.#services.logs.stat(logId))?.sizeBytes ?? 0;
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#services.logs.read(logId, { offset: Math.max(0, size - 1024 * 1024) })) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  /** Ends the log and keeps it as a file, however the build went. */
  async #keepLog(context: WorkContext): Promise<NewArtifact> {
    await using writer = await context.openLog(buildLogId(context.id));
    await writer.end();
    const blob = await this.#services.artifacts.storage.put(this.#services.logs.read(buildLogId(context.id)));
    return { type: 'build_log', filename: 'build.log', ...blob };
  }

  async cleanUp(
    context: WorkContext<Checkpoint>,
    request: BuildRequest,
    _error: BringupError,
    signal: AbortSignal,
  ): Promise<void> {
    const held = context.checkpoint;
    if (held === undefined) return;
    await this.#stopAndRemove(context, held, signal).catch((error: unknown) => {
      context.logger.warn({ error, build: context.id }, 'a build could not be removed from its server');
    });
    const log = await this.#keepLog(context);
    await context.transaction(async (tx) => {
      const origin = { producerId: context.id, buildId: context.id, architecture: request.targetArchitecture };
      await this.#services.artifacts.record(tx, origin, [log]);
      await release(tx, held.reservationId, context.clock.now());
    });
  }

  async #stopAndRemove(context: WorkContext, held: Checkpoint, signal: AbortSignal): Promise<void> {
    const server = await this.#services.buildServer(held.serverId);
    const folder = jobFolder(server, context.id);
    await using session = await this.#services.connectors.openShell(server, { signal });
    await stopDetached(session, folder, { signal });
    // What it said between the last poll and its end belongs to the log too.
    await using log = await context.openLog(buildLogId(context.id));
    await followDetached({
      connect: async () => session,
      folder,
      offset: log.sizeBytes,
      signal,
      clock: context.clock,
      onBytes: (bytes) => log.append(bytes),
    }).catch(() => undefined);
    await removeFolder(session, folder, signal);
  }
}

function jobFolder(server: BuildServer, buildId: string): string {
  return `${server.workspace}/builds/${buildId}`;
}

async function removeFolder(session: ShellSession, folder: string, signal: AbortSignal): Promise<void> {
  await session.exec(['sh', '-c', removeScript, 'bringup-remove', folder], { signal, timeoutMs: limits.hashTimeoutMs });
}
