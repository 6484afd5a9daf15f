import type { NewArtifact } from '../artifacts/records.ts';
import type { ShellSession, TransferProgress } from '../contracts/shell.ts';
import { cleanConsoleText } from '../consoles/console-text.ts';
import { BringupError, isBringupError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BuildRequest } from '../model/build.ts';
import type { BuildServer } from '../model/resource.ts';
import { followDetached, startDetached } from '../work/detached.ts';
import type { WorkContext } from '../work/handler.ts';
import type { SessionHolder } from '../work/session.ts';
import { fetchOutput, findOutputs, type FoundOutput } from './collect.ts';
import { errorLines } from './error-lines.ts';
import { planBuild } from './recipes.ts';
import { buildScript, readNoteScript } from './scripts.ts';
import {
  buildLogId,
  jobFolder,
  overMark,
  type BuildCheckpoint,
  type BuildServices,
  type HeldServer,
} from './services.ts';

/**
 * What the build script may say went wrong. The file in which it does is within reach of the recipe, so nothing
 * else is believed: an error of the SDK's own would steer the SDK.
 */
const toldCodes: readonly ErrorCode[] = [
  'dependency-missing',
  'disk-full',
  'command-failed',
  'source-missing',
  'commit-not-found',
];

/** One try of a build on one server: the recipe is run detached, followed, and its outputs are fetched. */
export class BuildAttempt {
  readonly #services: BuildServices;
  readonly #context: WorkContext<BuildCheckpoint>;
  readonly #request: BuildRequest;
  readonly #held: HeldServer;
  readonly #server: BuildServer;
  readonly #sessions: SessionHolder;
  readonly #folder: string;

  constructor(
    services: BuildServices,
    context: WorkContext<BuildCheckpoint>,
    request: BuildRequest,
    on: { readonly held: HeldServer; readonly server: BuildServer; readonly sessions: SessionHolder },
  ) {
    this.#services = services;
    this.#context = context;
    this.#request = request;
    this.#held = on.held;
    this.#server = on.server;
    this.#sessions = on.sessions;
    this.#folder = jobFolder(on.server, context.id);
  }

  /** Builds, and brings the outputs into the storage. Each one is remembered as soon as it is there. */
  async run(): Promise<void> {
    const { signal } = this.#context;
    const request = this.#request;
    const plan = planBuild(
      request.buildConfig,
      request.targetArchitecture,
      this.#server.toolchains,
      request.requiredToolchain,
    );
    await this.#context.guard();
    const command = [
      'env',
      ...plan.environment,
      'sh',
      '-c',
      buildScript,
      'bringup-build',
      this.#folder,
      `${this.#server.workspace}/git`,
      request.sourceRepository,
      request.branch ?? 'HEAD',
      request.commitHash ?? '',
      plan.script,
      ...plan.args,
    ];
    const unless = overMark(this.#server, this.#context.id);
    await this.#sessions.run((session) => startDetached(session, this.#folder, command, { signal, unless }));
    await this.#follow();
    await this.#context.phase('collecting');
    const found = await this.#sessions.run((session) =>
      findOutputs(session, `${this.#folder}/${plan.outputFolder}`, plan.outputs, signal),
    );
    for (const output of found) await this.#fetch(output);
    await this.#save({ collected: true });
  }

  async #save(progress: Partial<BuildCheckpoint>): Promise<void> {
    await this.#context.save({ tried: [], fetched: [], ...this.#context.checkpoint, ...progress });
  }

  async #fetch(output: FoundOutput): Promise<void> {
    const { path: _path, ...artifact } = output;
    const fetched = this.#context.checkpoint?.fetched ?? [];
    if (fetched.some((known) => isSame(known, artifact) && known.corrupted !== true)) return;
    const others = fetched.filter((known: NewArtifact) => known.filename !== artifact.filename);
    const { id: buildId, clock, signal } = this.#context;
    const { artifacts, onTransfer } = this.#services;
    const onProgress = (progress: TransferProgress): void =>
      onTransfer({ workId: buildId, filename: output.filename, direction: 'download', ...progress });
    try {
      await fetchOutput({ sessions: this.#sessions, artifacts, buildId, clock, signal, onProgress }, output);
    } catch (error) {
      // Recorded with the failed build, so that it shows which file it was; never served.
      if (isBringupError(error, 'checksum-mismatch')) {
        await this.#save({ fetched: [...others, { ...artifact, corrupted: true }] });
      }
      throw error;
    }
    await this.#save({ fetched: [...others, artifact] });
  }

  /** Follows the build to its end. @throws what made it fail. */
  async #follow(): Promise<void> {
    const { signal, clock } = this.#context;
    await using log = await this.#context.openLog(buildLogId(this.#context.id));
    const exitCode = await followDetached({
      connect: () => this.#sessions.get(),
      folder: this.#folder,
      offset: log.sizeBytes - this.#held.logStart,
      signal,
      clock,
      onBytes: (bytes) => log.append(bytes),
      onNote: async (note) => {
        // The recipe may write into it too: only what the build script says is listened to.
        const [, phase, commit] =
          /^(preparing|building)(?: ([0-9a-f]{40}|[0-9a-f]{64}|tree-[0-9a-f]{32}))?$/.exec(note) ?? [];
        if (phase !== undefined) await this.#context.phase(phase);
        if (commit !== undefined) await this.#rememberCommit(commit);
      },
    });
    await log.flush();
    if (exitCode !== 0) throw await this.#sessions.run((session) => this.#failure(session, exitCode));
  }

  /** What was checked out stays what it was, whatever is said once the recipe runs. */
  async #rememberCommit(commitHash: string): Promise<void> {
    const known = this.#context.checkpoint?.commitHash;
    if (known !== undefined || !commitHash.startsWith(this.#request.commitHash ?? '')) return;
    await this.#context.transaction(async (tx) => {
      await tx.db.updateTable('builds').set({ commit_hash: commitHash }).where('id', '=', this.#context.id).execute();
      await this.#context.saveIn(tx, { tried: [], fetched: [], ...this.#context.checkpoint, commitHash });
    });
  }

  async #failure(session: ShellSession, exitCode: number): Promise<BringupError> {
    const note = await session.exec(['sh', '-c', readNoteScript, 'bringup-note', `${this.#folder}/failure`], {
      signal: this.#context.signal,
      timeoutMs: limits.execTimeoutMs,
    });
    const code = note.stdout.toString('utf8').trim();
    const log = await this.#logTail();
    const lines = errorLines(log);
    const details = {
      repository: this.#request.sourceRepository,
      server: this.#server.hostname,
      exitCode,
      errorLines: lines,
    };
    const told = toldCodes.find((one) => one === code);
    if (told !== undefined) {
      // Whoever writes down a code says why in the same breath.
      const said = log.split('\n').findLast((line) => line.startsWith('bringup: ')) ?? lines.join('; ');
      const text = cleanConsoleText(said.slice(0, limits.errorLineChars)).replace(/^bringup: /, '');
      return new BringupError(told, text, { details });
    }
    return new BringupError('build-failed', `the build failed with exit status ${exitCode}: ${lines[0] ?? ''}`, {
      details,
    });
  }

  async #logTail(): Promise<string> {
    const logId = buildLogId(this.#context.id);
    const size = (await this.#services.logs.stat(logId))?.sizeBytes ?? 0;
    const offset = Math.max(this.#held.logStart, size - 1024 * 1024);
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#services.logs.read(logId, { offset })) chunks.push(chunk);
    return Buffer.concat(chunks).toString('utf8');
  }
}

function isSame(one: NewArtifact, other: NewArtifact): boolean {
  return one.filename === other.filename && one.sha256 === other.sha256;
}
