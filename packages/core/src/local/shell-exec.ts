import type { Clock } from '../contracts/runtime.ts';
import type { ExecOptions, ExecResult, ShellProcess, SpawnOptions } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { startDeadline } from './deadline.ts';
import { checkCommand, describeCommand } from './shell-input.ts';

/** What {@link execProcess} runs on. */
export interface ExecContext {
  readonly clock: Clock;
  readonly hostname: string;
  /** Aborts when the session ends, with the error its calls end with. */
  readonly life: AbortSignal;
  /** Starts the process; its disposal ends it and returns when it is gone. */
  readonly spawn: (argv: readonly string[], options: SpawnOptions) => Promise<ShellProcess>;
}

/**
 * Runs a command to its end on top of `spawn`. When the call fails, the process has been ended by
 * the time it rejects.
 * @throws as `ShellSession.exec`.
 */
export async function execProcess(
  context: ExecContext,
  argv: readonly string[],
  options: ExecOptions,
): Promise<ExecResult> {
  checkCommand(argv, options);
  const { signal, timeoutMs = limits.execTimeoutMs } = options;
  const what = describeCommand(argv, context.hostname);
  const call = { timeoutMs, ...(signal === undefined ? {} : { signal }) };
  using deadline = startDeadline(context.clock, what, call, context.life);
  const started = context.spawn(argv, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    signal: deadline.signal,
  });
  const process = await deadline.race(started);
  try {
    return await deadline.race(collectResult(process, what, options));
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
}

async function collectResult(process: ShellProcess, what: string, options: ExecOptions): Promise<ExecResult> {
  const { stdin = '', maxOutputBytes = limits.execMaxOutputBytes } = options;
  let outputBytes = 0;
  const collect = async (stream: AsyncIterable<Uint8Array>): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) {
      outputBytes += chunk.byteLength;
      if (outputBytes > maxOutputBytes) throw tooMuchOutput(what, maxOutputBytes);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  };
  const feed = async (): Promise<void> => {
    if (stdin.length > 0) await process.write(typeof stdin === 'string' ? Buffer.from(stdin) : stdin);
    await process.end();
  };
  // A command need not read its input; whether it did well is said by its exit status.
  const fed = feed().catch(() => undefined);
  const [stdout, stderr, status] = await Promise.all([
    collect(process.stdout),
    collect(process.stderr),
    process.exited,
    fed,
  ]);
  return { ...status, stdout, stderr };
}

function tooMuchOutput(what: string, maxOutputBytes: number): BringupError {
  return new BringupError(
    'command-failed',
    `${what} said more than ${maxOutputBytes} bytes and was ended. Raise maxOutputBytes, or spawn it and read its streams.`,
    { details: { maxOutputBytes } },
  );
}
