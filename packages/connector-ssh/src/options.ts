import { homedir } from 'node:os';
import { join } from 'node:path';
import { invalidInput, limits, silentLogger, systemClock } from '@bringup/core';
import type { Clock, Logger } from '@bringup/core';
import type { ConnectionOptions } from './connection.ts';
import type { PoolOptions } from './pool.ts';
import type { RouteOptions } from './route.ts';
import { Sudo, type SudoOptions } from './sudo.ts';

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
   * make it. Default: what the configuration says, else `~/.ssh/known_hosts` and
   * `/etc/ssh/ssh_known_hosts`.
   */
  readonly knownHosts?: readonly string[];
  /**
   * OpenSSH client configurations (`ssh_config`), the first value of which counts: where hosts really
   * are, as whom and with which keys to log in, which bastions to go through. What a target and these
   * options name counts more. No command in them is ever run, and nothing in them switches host keys
   * off. A file named here must exist; none at all with `[]`. Default `~/.ssh/config`, which nobody else
   * may be able to write, and `/etc/ssh/ssh_config`.
   */
  readonly configFiles?: readonly string[];
  /**
   * Fingerprints (`SHA256:…`, as `ssh-keygen -l` prints them) by host name, or by `[host]:port` for
   * ports other than 22. A host named here must show one of these keys; no file is asked.
   */
  readonly fingerprints?: Readonly<Record<string, readonly string[]>>;
  /**
   * Socket of the SSH agent; `null` for none. Default: the configuration's IdentityAgent, else the
   * environment's SSH_AUTH_SOCK.
   */
  readonly agent?: string | null;
  /**
   * A connection whose other side has said nothing for this many milliseconds times `keepaliveCount` is
   * lost: by default after 15 s. Within that time it was asked `keepaliveCount` times. 0 turns it off.
   * Default: the configuration's ServerAliveInterval, else 5000.
   */
  readonly keepaliveIntervalMs?: number;
  /** Keepalive messages that may stay unanswered. Default: ServerAliveCountMax, else 3. */
  readonly keepaliveCount?: number;
  /**
   * Every command, and the writing and reading of files, happens as another account of the target. The
   * login account must be allowed that by the target's sudoers. Default: as the login account.
   */
  readonly sudo?: SudoOptions;
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
  readonly route: RouteOptions;
  readonly pool: Omit<PoolOptions, 'open'>;
  readonly sudo: Sudo | undefined;
}

/** @throws `invalid-input` for bounds that are no positive numbers. */
export function resolveOptions(options: SshOptions): ResolvedOptions {
  const { clock = systemClock, logger = silentLogger, keepaliveIntervalMs, keepaliveCount } = options;
  const bounds = {
    channelsPerConnection: options.channelsPerConnection ?? limits.sshChannelsPerConnection,
    connectionsPerTarget: options.connectionsPerTarget ?? limits.sshConnectionsPerTarget,
    idleMs: options.idleMs ?? limits.sshIdleMs,
  };
  const checked = {
    keepaliveCount: keepaliveCount ?? 1,
    ...bounds,
    keepaliveIntervalMs: (keepaliveIntervalMs ?? 0) + 1,
  };
  const issues = Object.entries(checked)
    .filter(([, value]) => !(value >= 1))
    .map(([path]) => ({ path, message: 'is too small' }));
  if (issues.length > 0) throw invalidInput('ssh options', issues);
  return {
    connection: { clock, logger },
    route: {
      logger,
      configFiles: configFiles(options.configFiles),
      hostKeys: { acceptNew: options.hostKeys === 'accept-new', pinned: options.fingerprints ?? {} },
      knownHosts: options.knownHosts,
      agent: options.agent,
      keepaliveIntervalMs,
      keepaliveCount,
    },
    pool: { clock, ...bounds },
    sudo: options.sudo && new Sudo(options.sudo),
  };
}

function configFiles(named: readonly string[] | undefined): RouteOptions['configFiles'] {
  return (
    named?.map((path) => ({ path, optional: false, ownOnly: false })) ?? [
      { path: join(homedir(), '.ssh', 'config'), optional: true, ownOnly: true },
      { path: '/etc/ssh/ssh_config', optional: true, ownOnly: false },
    ]
  );
}
