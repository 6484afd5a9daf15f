import type { CallOptions, Clock } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { pollScript, startScript, stopScript } from './detached-scripts.ts';
import { Reconnects } from './session.ts';

/** News of a detached command. */
export interface DetachedNews {
  /**
   * `lost`: its process is gone without having told its exit status (the target was rebooted, or
   * somebody killed it). `gone`: there is no such command.
   */
  readonly state: 'running' | 'exited' | 'lost' | 'gone';
  /** Set when it has exited; 128 + n when signal n ended it. */
  readonly exitCode?: number;
  /** Log bytes from the offset that was asked for. */
  readonly bytes: Buffer;
  /** Whether the log has bytes beyond those. */
  readonly more: boolean;
  /** What the command last wrote into its `note` file. */
  readonly note: string;
}

/** What {@link startDetached} takes. */
export interface StartOptions extends CallOptions {
  /** File on the target that says that the command has been done, and cleared away. */
  readonly unless?: string;
}

/**
 * Starts a command on the target that needs neither this process nor the connection to go on.
 * Starting it again only makes sure that it was started.
 * @throws `lease-lost` when it has been done already, by another process then; `dependency-missing`, `command-failed`,
 * and those of the session.
 */
export async function startDetached(
  session: ShellSession,
  folder: string,
  argv: readonly string[],
  { unless = '', ...options }: StartOptions = {},
): Promise<void> {
  const result = await session.exec(['sh', '-c', startScript, 'bringup-start', folder, unless, ...argv], {
    timeoutMs: limits.execTimeoutMs,
    ...options,
  });
  if (result.exitCode === 0) return;
  if (result.exitCode === 75) {
    throw new BringupError('lease-lost', `what was to be done in ${folder} has been done by another process`, {
      details: { folder },
    });
  }
  if (result.exitCode === 69) {
    throw new BringupError('dependency-missing', "the target has no 'setsid'; install util-linux there", {
      details: { dependency: 'setsid' },
    });
  }
  const said = result.stderr.toString('utf8').trim();
  throw new BringupError(
    said.includes('No space left') ? 'disk-full' : 'command-failed',
    `the command could not be started in ${folder}: ${said}`,
    { details: { folder, stderr: said.slice(0, 1000) } },
  );
}

/**
 * Waits up to `limits.detachedPollMs` for log bytes beyond `offset` or for the command's end.
 * @throws those of the session.
 */
export async function pollDetached(
  session: ShellSession,
  folder: string,
  offset: number,
  options: CallOptions = {},
): Promise<DetachedNews> {
  const maxBytes = limits.execMaxOutputBytes / 4;
  const looks = Math.ceil(limits.detachedPollMs / 100);
  const result = await session.exec(
    ['sh', '-c', pollScript, 'bringup-poll', folder, String(offset), String(maxBytes), String(looks)],
    { timeoutMs: limits.detachedPollMs + limits.execTimeoutMs, ...options },
  );
  const headEnd = result.stdout.indexOf(0x0a);
  const [state, status, size, ...note] = result.stdout.toString('utf8', 0, Math.max(headEnd, 0)).split(' ');
  if (state !== 'running' && state !== 'exited' && state !== 'lost' && state !== 'gone') {
    throw new BringupError('command-failed', `the state of the command in ${folder} could not be read`, {
      retryable: true,
      details: { folder, stderr: result.stderr.toString('utf8').slice(0, 1000) },
    });
  }
  const bytes = result.stdout.subarray(headEnd + 1);
  return {
    state,
    ...(state === 'exited' && { exitCode: Number(status) }),
    bytes,
    more: offset + bytes.byteLength < Number(size),
    note: note.join(' '),
  };
}

/** Ends a command and everything it started. One that has ended is fine too. @throws those of the session. */
export async function stopDetached(session: ShellSession, folder: string, options: CallOptions = {}): Promise<void> {
  await session.exec(['sh', '-c', stopScript, 'bringup-stop', folder, String(limits.killGraceMs / 100)], {
    timeoutMs: limits.killGraceMs + limits.execTimeoutMs,
    ...options,
  });
}

/** What {@link followDetached} needs. */
export interface FollowOptions {
  /** A session that works; called again when the last one broke. */
  readonly connect: () => Promise<ShellSession>;
  /** The command's folder. */
  readonly folder: string;
  /** Log bytes that are kept already. */
  readonly offset: number;
  /** Takes each log byte once, in order. */
  readonly onBytes: (bytes: Buffer) => Promise<void>;
  /** Told when the command's note changes. */
  readonly onNote?: (note: string) => Promise<void>;
  readonly signal: AbortSignal;
  /** The time between reconnects. */
  readonly clock: Clock;
}

/**
 * Follows a command to its end. A broken connection is made anew, and the log goes on at the byte
 * it had reached.
 * @returns its exit status.
 * @throws `process-lost` when it ended without telling how; `connection-lost` or
 * `connection-failed` when the target stays out of reach.
 */
export async function followDetached(options: FollowOptions): Promise<number> {
  let { offset } = options;
  const reconnects = new Reconnects(options.clock, options.signal);
  let note = '';
  for (;;) {
    try {
      const session = await options.connect();
      const news = await pollDetached(session, options.folder, offset, { signal: options.signal });
      reconnects.succeeded();
      await options.onBytes(news.bytes);
      offset += news.bytes.byteLength;
      if (news.note !== note) await options.onNote?.(news.note);
      note = news.note;
      if (news.more || news.state === 'running') continue;
      if (news.state === 'exited') return news.exitCode ?? 1;
      throw new BringupError(
        'process-lost',
        news.state === 'gone'
          ? `the command's folder ${options.folder} is gone from the target`
          : 'the command was killed on the target, or the target was restarted, before it could tell how it ended',
        { retryable: true, details: { folder: options.folder, state: news.state } },
      );
    } catch (error) {
      await reconnects.pauseAfter(error);
    }
  }
}
