/**
 * Shells, verified file transfer and forwarding over SSH.
 *
 * @module @bringup/connector-ssh
 */
import type { ShellConnector } from '@bringup/core';
import { SshConnector } from './connector.ts';
import { resolveOptions, type SshOptions } from './options.ts';
import type { SudoOptions } from './sudo.ts';

export type { SshOptions, SudoOptions };

/**
 * Shells, file transfer and forwarding over SSH. Connections are pooled: all sessions with the same
 * target, account and identity share one, and more are opened only while commands wait.
 *
 * Host keys are verified against known_hosts; logins use the target's key file, else the agent and
 * the usual key files, then its password.
 *
 * @example
 * ```ts
 * await using connector = ssh();
 * await using session = await connector.connect({ hostname: 'builder-1', username: 'ci' });
 * const { stdout } = await session.exec(['uname', '-r']);
 * console.log(stdout.toString());
 * ```
 * @throws `invalid-input` for options out of range.
 */
export function ssh(options: SshOptions = {}): ShellConnector {
  return new SshConnector(resolveOptions(options));
}
