import { homedir, hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { BringupError, limits } from '@bringup/core';
import type { Logger, Secret, ShellTarget } from '@bringup/core';
import type { JumpHost } from './config-jump.ts';
import { concernsOthers } from './config-keywords.ts';
import { type ConfigPath, readConfig } from './config-read.ts';
import { type HostSettings, type LocalFacts, settingsFor } from './config-settings.ts';
import type { ConfigFile, ConfigLine } from './config-file.ts';
import type { TargetName } from './errors.ts';
import type { HostKeyPolicy } from './host-keys.ts';

/** More hosts than this in a row are a mistake. */
const mostHops = 8;

/** One SSH server, with all that is needed to log in there. */
export interface Endpoint {
  readonly name: TargetName;
  /** Where its port is, as seen from the host before it, or from here. */
  readonly host: string;
  readonly port: number;
  /** Under which its host key is looked up. */
  readonly keyName: { readonly hostname: string; readonly port: number };
  readonly hostKeys: HostKeyPolicy;
  readonly credentials: Credentials;
  readonly keepaliveIntervalMs: number;
  readonly keepaliveCount: number;
  readonly connectTimeoutMs: number;
  /** The host to go through. */
  readonly via: Endpoint | undefined;
}

/** Ways to prove who we are. */
export interface Credentials {
  readonly username: string;
  /** The one key the caller named: no other is tried. */
  readonly keyPath: string | undefined;
  /** Keys the configuration names; without any, the usual files. */
  readonly identityFiles: readonly string[];
  /** Whether the agent may only use those. */
  readonly identitiesOnly: boolean;
  /** Socket of the agent. */
  readonly agent: string | undefined;
  readonly passphrase: Secret | undefined;
  readonly password: Secret | undefined;
}

/** What the connector's options say for all targets; undefined leaves it to the configuration. */
export interface RouteOptions {
  readonly logger: Logger;
  readonly configFiles: readonly ConfigPath[];
  /** Without its files where the options name none. */
  readonly hostKeys: Omit<HostKeyPolicy, 'files' | 'filesRequired'>;
  readonly knownHosts: readonly string[] | undefined;
  /** Null for none. */
  readonly agent: string | null | undefined;
  readonly keepaliveIntervalMs: number | undefined;
  readonly keepaliveCount: number | undefined;
}

/** Finds the way to targets, as OpenSSH's configuration and the connector's options have it. */
export class Router {
  readonly #options: RouteOptions;
  readonly #told = new Set<string>();

  constructor(options: RouteOptions) {
    this.#options = options;
  }

  /**
   * The server of a target, and those on the way to it. What the target says itself counts more
   * than the configuration. Its password and its passphrase are for it alone.
   * @throws `invalid-input`, `unsupported` for a configuration that can't be honoured.
   */
  async route(target: ShellTarget): Promise<Endpoint> {
    const local = localFacts();
    const files = await readConfig(this.#options.configFiles, local.home);
    const settings = this.#settings(files, local, target);
    const via = this.#through(files, local, settings.proxyJump, [target.hostname]);
    return this.#endpoint(target, settings, via);
  }

  /** The last of the hosts to go through. The first may have its own way; the others follow it. */
  #through(
    files: readonly ConfigFile[],
    local: LocalFacts,
    jumps: readonly JumpHost[],
    seen: readonly string[],
  ): Endpoint | undefined {
    let via: Endpoint | undefined;
    let names = seen;
    for (const [index, jump] of jumps.entries()) {
      checkLoop(jump.hostname, names);
      names = [...names, jump.hostname];
      const settings = this.#settings(files, local, jump);
      if (index === 0) via = this.#through(files, local, settings.proxyJump, names);
      via = this.#endpoint({ ...jump, username: settings.username }, settings, via);
    }
    return via;
  }

  #settings(files: readonly ConfigFile[], local: LocalFacts, target: JumpHost): HostSettings {
    const settings = settingsFor(files, { ...target, local });
    for (const line of settings.passedOver) this.#tell(line, target.hostname);
    return settings;
  }

  /** Once for a line, whatever the number of hosts it holds for. */
  #tell(line: ConfigLine, host: string): void {
    const place = `${line.file}:${line.line}`;
    if (this.#told.has(place)) return;
    this.#told.add(place);
    const facts = { place, keyword: line.keyword, hostname: host };
    if (concernsOthers(line)) this.#options.logger.debug(facts, 'a line of the SSH configuration is not for us');
    else this.#options.logger.warn(facts, 'a line of the SSH configuration is not honoured');
  }

  #endpoint(target: ShellTarget, settings: HostSettings, via: Endpoint | undefined): Endpoint {
    const { hostname: given, address, username, keyPath } = target;
    const port = target.port ?? settings.port ?? 22;
    const host = address ?? settings.hostname;
    const agent = this.#options.agent === undefined ? settings.identityAgent : this.#options.agent;
    const keyHost = settings.hostKeyAlias ?? (address === undefined ? settings.hostname : given);
    return {
      name: {
        label: `${username}@${given}${port === 22 ? '' : `:${port}`}`,
        details: { hostname: given, address: host, port, username, ...(via !== undefined && { via: via.name.label }) },
      },
      host,
      port,
      keyName: { hostname: keyHost, port: settings.hostKeyAlias === undefined ? port : 22 },
      hostKeys: { ...this.#options.hostKeys, ...knownHostsOf(this.#options.knownHosts, settings) },
      credentials: {
        username,
        keyPath,
        identityFiles: settings.identityFiles,
        identitiesOnly: settings.identitiesOnly,
        agent: (agent === undefined ? process.env['SSH_AUTH_SOCK'] : agent) || undefined,
        passphrase: target.passphrase,
        password: target.password,
      },
      keepaliveIntervalMs:
        this.#options.keepaliveIntervalMs ?? settings.serverAliveIntervalMs ?? limits.sshKeepaliveIntervalMs,
      keepaliveCount: this.#options.keepaliveCount ?? settings.serverAliveCount ?? limits.sshKeepaliveCount,
      connectTimeoutMs: settings.connectTimeoutMs || limits.connectTimeoutMs,
      via,
    };
  }
}

function checkLoop(hostname: string, seen: readonly string[]): void {
  const way = [...seen, hostname].join(', then ');
  if (seen.includes(hostname)) {
    throw new BringupError(
      'invalid-input',
      `The SSH configuration's ProxyJump leads in a circle: ${way}. Take the bastion out of what it is for (Host * !${hostname}).`,
    );
  }
  if (seen.length > mostHops) throw new BringupError('invalid-input', `There are too many hosts on the way: ${way}.`);
}

function knownHostsOf(
  named: readonly string[] | undefined,
  settings: HostSettings,
): Pick<HostKeyPolicy, 'files' | 'filesRequired'> {
  if (named !== undefined) return { files: named, filesRequired: true };
  const user = settings.userKnownHosts ?? [join(homedir(), '.ssh', 'known_hosts')];
  const global = settings.globalKnownHosts ?? ['/etc/ssh/ssh_known_hosts'];
  return { files: [...user, ...global], filesRequired: false };
}

function localFacts(): LocalFacts {
  const { username, uid } = userInfo();
  return { username, userId: String(uid), home: homedir(), hostname: hostname(), env: process.env };
}
