import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readConfig } from '../../src/config-read.ts';
import { settingsFor, type HostSettings } from '../../src/config-settings.ts';
import { configTexts, hostNames } from '../config-arbitrary.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'bringup-config-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const local = {
  username: userInfo().username,
  userId: String(userInfo().uid),
  home: homedir(),
  hostname: hostname(),
  env: process.env,
};

/** What `ssh -G` says, by keyword. */
function realSettings(path: string, host: string, user: string | undefined): Map<string, string[]> {
  const account = user === undefined ? [] : ['-l', user];
  const said = execFileSync('ssh', ['-G', '-F', path, ...account, host], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const settings = new Map<string, string[]>();
  for (const line of said.split('\n')) {
    const [, keyword = '', value = ''] = /^(\S+) (.*)$/.exec(line) ?? [];
    settings.set(keyword, [...(settings.get(keyword) ?? []), value]);
  }
  return settings;
}

it('is understood as OpenSSH understands it, for any configuration and host', async () => {
  const path = join(dir, 'config');
  const includedPath = join(dir, 'included');
  await fc.assert(
    fc.asyncProperty(
      configTexts,
      hostNames,
      fc.option(fc.constantFrom('u1', 'u9'), { nil: undefined }),
      async ({ main, included }, host, user) => {
        writeFileSync(path, main.replace('INCLUDE', includedPath));
        writeFileSync(includedPath, included);
        const real = realSettings(path, host, user);
        const files = await readConfig([{ path, optional: false, ownOnly: true }], homedir());
        const ours = settingsFor(files, { hostname: host, ...(user !== undefined && { username: user }), local });
        expect(comparable(ours)).toEqual(comparableReal(real, host));
      },
    ),
    { numRuns: 120 },
  );
});

const seconds = (ms: number | undefined): string => (ms === undefined ? 'none' : String(ms / 1000));

function comparable(ours: HostSettings): unknown {
  return {
    hostname: ours.hostname,
    user: ours.username,
    port: String(ours.port ?? 22),
    identityFiles: ours.identityFiles,
    identitiesOnly: ours.identitiesOnly,
    jumps: ours.proxyJump.map(({ username, hostname: name, port }) => [username, name, port]),
    aliveInterval: seconds(ours.serverAliveIntervalMs ?? 0),
    aliveCount: String(ours.serverAliveCount ?? 3),
    connectTimeout: seconds(ours.connectTimeoutMs),
    userKnownHosts: ours.userKnownHosts?.join(' '),
    globalKnownHosts: ours.globalKnownHosts?.join(' '),
    alias: ours.hostKeyAlias,
  };
}

/** `ssh -G` leaves key files as they are written, and shows its own defaults. */
function comparableReal(real: Map<string, string[]>, host: string): unknown {
  const one = (keyword: string): string | undefined => real.get(keyword)?.[0];
  const unless = (value: string | undefined, usual: string): string | undefined =>
    value === usual ? undefined : value;
  const tokens: Readonly<Record<string, string | undefined>> = {
    h: one('hostname'),
    r: one('user'),
    n: host,
    d: homedir(),
    '%': '%',
  };
  const written = real.get('identityfile') ?? [];
  const files = written.includes('~/.ssh/id_rsa') ? [] : written.filter((file) => file !== 'none');
  const home = homedir();
  const known = (keyword: string): string | undefined => (one(keyword) === 'none' ? '' : one(keyword));
  return {
    hostname: one('hostname'),
    user: one('user'),
    port: one('port'),
    identityFiles: files.map((file) =>
      file.replace(/^~/, home).replaceAll(/%(.)/g, (_all, key: string) => tokens[key] ?? ''),
    ),
    identitiesOnly: one('identitiesonly') === 'yes',
    jumps: (one('proxyjump')?.split(',') ?? []).map((text) => {
      const [, user, name = '', port] = /^(?:ssh:\/\/)?(?:(.*)@)?(.*?)(?::(\d+))?$/.exec(text) ?? [];
      return [user, name.replaceAll(/[[\]]/g, ''), port === undefined ? undefined : Number(port)];
    }),
    aliveInterval: one('serveraliveinterval'),
    aliveCount: one('serveralivecountmax'),
    connectTimeout: one('connecttimeout'),
    userKnownHosts: unless(known('userknownhostsfile'), `${home}/.ssh/known_hosts ${home}/.ssh/known_hosts2`),
    globalKnownHosts: unless(known('globalknownhostsfile'), '/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2'),
    alias: one('hostkeyalias'),
  };
}
