import { configError, configUnsupported, type ConfigFile, type ConfigLine } from './config-file.ts';
import { asksForFinal, matchHolds } from './config-match.ts';
import { expandTilde, expandTokens, expandVariables, type Tokens } from './config-tokens.ts';
import { type JumpHost, parseProxyJump } from './config-jump.ts';
import { isHonoured, whyRefused } from './config-keywords.ts';
import { matchesPatterns } from './patterns.ts';

/** Whose settings are wanted, and on which machine we are. */
export interface ConfigQuery {
  /** As the caller named it; what `Host` lines match. */
  readonly hostname: string;
  /** Account, when the caller named one: it wins over `User`. */
  readonly username?: string;
  /** Port, when the caller named one: it wins over `Port`. */
  readonly port?: number;
  readonly local: LocalFacts;
}

/** What of this machine takes part. */
export interface LocalFacts {
  readonly username: string;
  readonly userId: string;
  readonly home: string;
  readonly hostname: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What the configuration says about one host; absent where it says nothing. */
export interface HostSettings {
  /** Where to connect to: `HostName` with its tokens replaced, else the name itself, in lower case. */
  readonly hostname: string;
  readonly username: string;
  readonly port: number | undefined;
  readonly identityFiles: readonly string[];
  readonly identitiesOnly: boolean;
  /** A socket's path, or null for `none`. */
  readonly identityAgent: string | null | undefined;
  /** Hosts to go through, the first one first. */
  readonly proxyJump: readonly JumpHost[];
  readonly userKnownHosts: readonly string[] | undefined;
  readonly globalKnownHosts: readonly string[] | undefined;
  readonly hostKeyAlias: string | undefined;
  readonly serverAliveIntervalMs: number | undefined;
  readonly serverAliveCount: number | undefined;
  readonly connectTimeoutMs: number | undefined;
  /** Lines that hold for this host and are not honoured. */
  readonly passedOver: readonly ConfigLine[];
}

/**
 * What OpenSSH would make of the files for a host: for each keyword the first value counts, except
 * that `IdentityFile` collects. Reads nothing and runs nothing.
 * @throws `invalid-input`, `unsupported` with the line's place.
 */
export function settingsFor(files: readonly ConfigFile[], query: ConfigQuery): HostSettings {
  const reading = new Reading(query);
  reading.read(files);
  return new Interpreter(query, reading).settings();
}

const times = new Set(['connecttimeout', 'serveraliveinterval']);

/** Goes through the files and keeps the lines that hold. */
class Reading {
  readonly #query: ConfigQuery;
  readonly values = new Map<string, ConfigLine>();
  readonly identityFiles: ConfigLine[] = [];
  readonly passedOver = new Set<ConfigLine>();
  /** The name to connect to, once the first reading has settled it. */
  #settledName: string | undefined;
  #wantsFinal = false;

  constructor(query: ConfigQuery) {
    this.#query = query;
  }

  read(files: readonly ConfigFile[]): void {
    for (const { lines } of files) this.#walk(lines, true);
    if (!this.#wantsFinal) return;
    // As in OpenSSH, whose name the second reading looks at is settled: `HostName` says nothing new any more.
    this.#settledName = lowerCaseName(this.hostname);
    for (const { lines } of files) this.#walk(lines, true);
  }

  /** Where to connect to as far as it is known now. */
  get hostname(): string {
    if (this.#settledName !== undefined) return this.#settledName;
    const line = this.values.get('hostname');
    const { hostname } = this.#query;
    return line === undefined ? hostname : expandTokens(only(line), { h: hostname }, line);
  }

  #walk(lines: readonly ConfigLine[], parentHolds: boolean): void {
    let holds = parentHolds;
    for (const line of lines) {
      if (line.keyword === 'host') {
        holds = parentHolds && matchesPatterns(line.args, this.#settledName ?? this.#query.hostname);
      } else if (line.keyword === 'match') {
        // Also where it can't hold: OpenSSH reads on, and only then forgets what came of it.
        this.#wantsFinal ||= asksForFinal(line);
        holds = parentHolds && this.#matches(line);
      } else if (line.keyword === 'include') {
        for (const file of line.included ?? []) this.#walk(file.lines, holds);
      } else if (holds) {
        this.#keep(line);
      }
    }
  }

  #matches(line: ConfigLine): boolean {
    const { hostname, username, local } = this.#query;
    return matchHolds(line, {
      originalHost: hostname,
      host: this.hostname,
      user: username ?? this.values.get('user')?.args[0] ?? local.username,
      localUser: local.username,
      final: this.#settledName !== undefined,
    });
  }

  #keep(line: ConfigLine): void {
    const { keyword } = line;
    if (keyword === 'identityfile') {
      if (!this.identityFiles.some((known) => only(known) === only(line))) this.identityFiles.push(line);
      return;
    }
    // As in OpenSSH, no time is as good as none said: a later line can still say one.
    if (times.has(keyword) && only(line) === 'none') return;
    // One of the two ways round the direct one: the first that is named counts.
    const key = keyword === 'proxycommand' ? 'proxyjump' : keyword;
    if (this.values.has(key) || (key === 'hostname' && this.#settledName !== undefined)) return;
    this.values.set(key, line);
    if (!isHonoured(line)) this.passedOver.add(line);
  }
}

/** Gives the kept lines their meaning. */
class Interpreter {
  readonly #query: ConfigQuery;
  readonly #reading: Reading;

  constructor(query: ConfigQuery, reading: Reading) {
    this.#query = query;
    this.#reading = reading;
  }

  settings(): HostSettings {
    for (const line of this.#reading.values.values()) {
      const why = whyRefused(line);
      if (why !== undefined) throw configUnsupported(line, why);
    }
    const { username, local } = this.#query;
    const hostname = lowerCaseName(this.#reading.hostname);
    const user = username ?? this.#one('user') ?? local.username;
    const port = this.#query.port ?? this.#number('port', 1, 65_535);
    const tokens: Tokens = {
      d: local.home,
      h: hostname,
      i: local.userId,
      k: this.#one('hostkeyalias') ?? this.#query.hostname,
      L: local.hostname.split('.')[0] ?? '',
      l: local.hostname,
      n: this.#query.hostname,
      p: String(port ?? 22),
      r: user,
      u: local.username,
    };
    return {
      hostname,
      username: user,
      port,
      identityFiles: this.#reading.identityFiles
        .filter((line) => only(line).toLowerCase() !== 'none')
        .map((line) => this.#path(only(line), tokens, line)),
      identitiesOnly: this.#flag('identitiesonly'),
      identityAgent: this.#agent(tokens),
      proxyJump: this.#jump(tokens),
      userKnownHosts: this.#files('userknownhostsfile', tokens),
      globalKnownHosts: this.#files('globalknownhostsfile', tokens),
      hostKeyAlias: this.#one('hostkeyalias'),
      serverAliveIntervalMs: this.#milliseconds('serveraliveinterval'),
      serverAliveCount: this.#number('serveralivecountmax', 0, 2 ** 31),
      connectTimeoutMs: this.#milliseconds('connecttimeout'),
      passedOver: [...this.#reading.passedOver],
    };
  }

  #one(keyword: string): string | undefined {
    const line = this.#reading.values.get(keyword);
    return line === undefined ? undefined : only(line);
  }

  #flag(keyword: string): boolean {
    const line = this.#reading.values.get(keyword);
    if (line === undefined) return false;
    if (!/^(?:yes|no|true|false)$/i.test(only(line))) throw configError(line, 'is neither yes nor no');
    return /^(?:yes|true)$/i.test(only(line));
  }

  #number(keyword: string, least: number, most: number): number | undefined {
    const line = this.#reading.values.get(keyword);
    if (line === undefined) return undefined;
    const value = /^\d+$/.test(only(line)) ? Number(only(line)) : Number.NaN;
    if (!(value >= least && value <= most)) throw configError(line, `is no number from ${least} to ${most}`);
    return value;
  }

  /** Seconds, or `1h30m`; sshd_config(5), "TIME FORMATS". */
  #milliseconds(keyword: string): number | undefined {
    const line = this.#reading.values.get(keyword);
    if (line === undefined) return undefined;
    if (!/^(?:\d+[smhdw]?)+$/i.test(only(line))) throw configError(line, 'is no time');
    const unit: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
    const parts = [
      ...only(line)
        .toLowerCase()
        .matchAll(/(\d+)([smhdw]?)/g),
    ];
    return parts.reduce((sum, [, count, name]) => sum + Number(count) * (unit[name ?? ''] ?? 1) * 1_000, 0);
  }

  #path(text: string, tokens: Tokens, line: ConfigLine): string {
    const { home, env } = this.#query.local;
    return expandTokens(expandVariables(expandTilde(text, home, line), env, line), tokens, line);
  }

  #files(keyword: string, tokens: Tokens): readonly string[] | undefined {
    const line = this.#reading.values.get(keyword);
    if (line === undefined) return undefined;
    if (line.args.length === 1 && line.args[0]?.toLowerCase() === 'none') return [];
    return line.args.map((text) => this.#path(text, tokens, line));
  }

  #agent(tokens: Tokens): string | null | undefined {
    const line = this.#reading.values.get('identityagent');
    if (line === undefined || only(line) === 'SSH_AUTH_SOCK') return undefined;
    if (only(line).toLowerCase() === 'none') return null;
    const variable = /^\$([A-Za-z_]\w*)$/.exec(only(line))?.[1];
    if (variable !== undefined) return this.#query.local.env[variable] ?? null;
    return this.#path(only(line), tokens, line);
  }

  #jump(tokens: Tokens): readonly JumpHost[] {
    const line = this.#reading.values.get('proxyjump');
    if (line === undefined || line.keyword === 'proxycommand') return [];
    const { h, n, p, r } = tokens;
    return parseProxyJump(line, (text) => expandTokens(text, { h, n, p, r } as Tokens, line));
  }
}

/** Addresses stay as they are, and what OpenSSH takes for one. */
function lowerCaseName(name: string): string {
  return /[:%]/.test(name) ? name : name.toLowerCase();
}

/** The one value of a line. @throws `invalid-input` when there are more. */
function only(line: ConfigLine): string {
  if (line.args.length > 1) throw configError(line, 'has more than one value');
  return line.args[0] ?? '';
}
