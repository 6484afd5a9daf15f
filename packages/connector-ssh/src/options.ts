import { homedir } from 'node:os';
import { join } from 'node:path';
import { invalidInput, limits, silentLogger, systemClock } from '@bringup/core';
import type { Clock, Logger } from '@bringup/core';
import type { ConnectionOptions } from './connection.ts';
import type { PoolOptions } from './pool.ts';

/** Options of {@link ssh}. */
export interface SshOptions {
  /**
   * Whose host keys are trusted: those in `knownHosts` (`verify`), or also, by being written to the
   * first of these files, those of hosts that nothing is known about yet (`accept-new`). There is no
   * way to trust every key. Default `verify`.
   */
  readonly hostKeys?: 'verify' | 'accept-new';
  /**
   * Files in OpenSSH's known_hosts format. A file named here must exist, unless `accept-new` is to
   * make it. Default `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`.
   */
  readonly knownHosts?: readonly string[];
  /**
   * Fingerprints (`SHA256:…`, as `ssh-keygen -l` prints them) by host name, or by `[host]:port` for
   * ports other than 22. A host named here must show one of these keys; no file is asked.
   */
  readonly fingerprints?: Readonly<Record<string, readonly string[]>>;
  /** Socket of the SSH agent; `null` for none. Default: the environment's SSH_AUTH_SOCK. */
  readonly agent?: string | null;
  /**
   * Milliseconds between keepalive messages. A connection whose other side answers none of
   * `keepaliveCount` is lost: by default after 20 s at most. 0 turns it off. Default 5000.
   */
  readonly keepaliveIntervalMs?: number;
  /** Keepalive messages that may stay unanswered. Default 3. */
  readonly keepaliveCount?: number;
  /** Commands at a time on one connection; one more is kept for signals. OpenSSH's MaxSessions is 10. Default 9. */
  readonly channelsPerConnection?: number;
  /** Connections to one target, opened while commands wait for a channel. Default 4. */
  readonly connectionsPerTarget?: number;
  /** A connection nobody uses is closed after this many milliseconds. Default 60000. */
  readonly idleMs?: number;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: silent. */
  readonly logger?: Logger;
}

/** {@link SshOptions} with everything decided. */
export interface ResolvedOptions {
  readonly connection: ConnectionOptions;
  readonly pool: Omit<PoolOptions, 'open'>;
}

/** @throws `invalid-input` for bounds that are no positive numbers. */
export function resolveOptions(options: SshOptions): ResolvedOptions {
  const { clock = systemClock, logger = silentLogger, agent = process.env['SSH_AUTH_SOCK'] } = options;
  const keepaliveIntervalMs = options.keepaliveIntervalMs ?? limits.sshKeepaliveIntervalMs;
  const bounds = {
    keepaliveCount: options.keepaliveCount ?? limits.sshKeepaliveCount,
    channelsPerConnection: options.channelsPerConnection ?? limits.sshChannelsPerConnection,
    connectionsPerTarget: options.connectionsPerTarget ?? limits.sshConnectionsPerTarget,
    idleMs: options.idleMs ?? limits.sshIdleMs,
  };
  const issues = Object.entries({ ...bounds, keepaliveIntervalMs: keepaliveIntervalMs + 1 })
    .filter(([, value]) => !(value >= 1))
    .map(([path]) => ({ path, message: 'is too small' }));
  if (issues.length > 0) throw invalidInput('ssh options', issues);
  return {
    connection: {
      clock,
      logger,
      hostKeys: {
        files: options.knownHosts ?? [join(homedir(), '.ssh', 'known_hosts'), '/etc/ssh/ssh_known_hosts'],
        filesRequired: options.knownHosts !== undefined,
        acceptNew: options.hostKeys === 'accept-new',
        pinned: options.fingerprints ?? {},
      },
      agent: agent === null || agent === '' ? undefined : agent,
      keepaliveIntervalMs,
      keepaliveCount: bounds.keepaliveCount,
    },
    pool: {
      clock,
      channelsPerConnection: bounds.channelsPerConnection,
      connectionsPerTarget: bounds.connectionsPerTarget,
      idleMs: bounds.idleMs,
    },
  };
}
