import type { ShellSession } from '../contracts/shell.ts';
import { limits } from '../limits.ts';
import type { Connection } from '../model/resource.ts';
import type { TestCommand } from '../model/test-run.ts';
import type { Connectors } from '../pool/connectors.ts';
import { followDetached, startDetached, stopDetached } from '../work/detached.ts';
import type { WorkContext } from '../work/handler.ts';
import type { LogStore, LogWriter } from '../work/logs.ts';
import { SessionHolder } from '../work/session.ts';
import type { TestRunCheckpoint } from './checkpoint.ts';
import type { CommandEnd } from './command-results.ts';

/** What {@link RemoteCommands} need. */
export interface RemoteCommandsOptions {
  readonly context: WorkContext<TestRunCheckpoint>;
  readonly connectors: Connectors;
  readonly logs: LogStore;
  /** Where they are run. */
  readonly remote: Connection;
  /** Gets what they print. */
  readonly log: LogWriter;
  readonly signal: AbortSignal;
}

/** Commands run by a target's own shell, where they outlive the connection and the process that started them. */
export class RemoteCommands implements AsyncDisposable {
  readonly #options: RemoteCommandsOptions;
  readonly #sessions: SessionHolder;

  constructor(options: RemoteCommandsOptions) {
    const { context, connectors, remote, signal } = options;
    this.#options = options;
    this.#sessions = new SessionHolder(() => connectors.openShell(remote, { signal }), {
      clock: context.clock,
      signal,
    });
  }

  /** Runs the command, or goes on with it where it already runs. @throws those of the connector. */
  async run(command: TestCommand, index: number): Promise<CommandEnd> {
    const { context, log, signal } = this.#options;
    const folder = remoteFolder(context.id, index);
    const logStart = context.checkpoint?.logStart ?? log.sizeBytes;
    await context.save({ done: [], ...context.checkpoint, logStart });
    await this.#sessions.run((session) => startDetached(session, folder, command.argv, { signal }));
    const exitCode = await followDetached({
      connect: () => this.#sessions.get(),
      folder,
      offset: log.sizeBytes - logStart,
      signal,
      clock: context.clock,
      onBytes: (bytes) => log.append(bytes),
    });
    await log.flush();
    return { exitCode, output: await this.#output(logStart) };
  }

  /** Ends what runs of the command and removes what it left. May be run again. */
  clear(index: number): Promise<void> {
    const { context, signal } = this.#options;
    return this.#sessions.run((session) => clearRemote(session, context.id, index, signal));
  }

  async #output(offset: number): Promise<string> {
    const { log, logs } = this.#options;
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of logs.read(log.logId, { offset })) {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes > limits.execMaxOutputBytes) break;
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#sessions[Symbol.asyncDispose]();
  }
}

function remoteFolder(testRunId: string, index: number): string {
  return `/tmp/bringup-${testRunId}-${index}`;
}

/** Ends what runs of a command of a test run and removes what it left. May be run again. */
export async function clearRemote(
  session: ShellSession,
  testRunId: string,
  index: number,
  signal: AbortSignal,
): Promise<void> {
  const folder = remoteFolder(testRunId, index);
  await stopDetached(session, folder, { signal });
  await session.exec(['rm', '-rf', '--', folder], { signal });
}
