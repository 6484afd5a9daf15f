import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isBringupError, Secret, type ShellTarget } from '@bringup/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { parseConfig } from '../src/config-file.ts';
import { readConfig } from '../src/config-read.ts';
import { settingsFor, type ConfigQuery, type HostSettings } from '../src/config-settings.ts';
import { type Endpoint, Router } from '../src/route.ts';
import { configTexts, hostNames } from './config-arbitrary.ts';

const local = { username: 'me', userId: '1000', home: '/home/me', hostname: 'here.lab', env: { KEYS: '/keys' } };

function settings(text: string, query: Partial<ConfigQuery> = {}): HostSettings {
  const files = [{ path: '/config', lines: parseConfig(text, '/config') }];
  return settingsFor(files, { hostname: 'board', local, ...query });
}

function refusal(text: string, query?: Partial<ConfigQuery>): { code: string; message: string } {
  try {
    settings(text, query);
  } catch (error) {
    if (isBringupError(error)) return error;
    throw error;
  }
  throw new Error('it was taken');
}

describe("OpenSSH's configuration", () => {
  it('gives the first value that holds for the host, and collects key files', () => {
    const text = `
      Host other
        User nobody
      Host b* !bird
        HostName %h.lab
        User first
        IdentityFile ~/.ssh/one
      Host *
        User second
        IdentityFile \${KEYS}/%r@%h-%n-%u
        Port 2222 # a comment`;
    expect(settings(text)).toMatchObject({
      hostname: 'board.lab',
      username: 'first',
      port: 2222,
      identityFiles: ['/home/me/.ssh/one', '/keys/first@board.lab-board-me'],
    });
    expect(settings(text, { hostname: 'bird' })).toMatchObject({ hostname: 'bird', username: 'second' });
  });

  it('lets what the caller named win over it, also in Match', () => {
    const text = 'Match user root\n  Port 1\nMatch user ci\n  Port 2\nUser x\n';
    expect(settings(text, { username: 'ci' })).toMatchObject({ username: 'ci', port: 2 });
    expect(settings('Port 7', { port: 8 }).port).toBe(8);
  });

  it.each([
    ['a command on the way', 'ProxyCommand nc %h %p', 'proxycommand in /config:1'],
    ['a command that decides', 'Match exec "test -e /tmp/x"\n  Port 1', 'match in /config:1'],
    ['a command that knows host keys', 'KnownHostsCommand /bin/keys', 'knownhostscommand'],
    ['a list of revoked keys', 'RevokedHostKeys /etc/revoked', 'revokedhostkeys'],
    ['names that are completed', 'CanonicalizeHostname yes', 'canonicalizehostname'],
    ['a criterion it does not know', 'Match tagged x\n  Port 1', 'tagged'],
  ])('is refused with its place where it has %s', (_what, text, part) => {
    const error = refusal(text);
    expect(error.code).toBe('unsupported');
    expect(error.message).toContain(part);
  });

  it('is not refused for what does not come to count', () => {
    const text =
      'Match host other exec "rm -rf /"\n  Port 1\nHost other\n  ProxyCommand x\nHost *\n  ProxyCommand none';
    expect(settings(text).port).toBeUndefined();
    expect(settings('ProxyJump bastion\nProxyCommand nc').proxyJump).toEqual([{ hostname: 'bastion' }]);
  });

  it.each([
    ['Port', ':1: port has no value'],
    ['\nPort 0', ':2: port is no number'],
    ['Port 65536', 'is no number'],
    ['Port 22 23', 'more than one value'],
    ['User "x', 'a quote that does not end'],
    ['HostName %n', 'the token %n'],
    ['IdentityFile ${NOTHING}/x', 'the variable NOTHING'],
    ['IdentityFile ~you/x', "another account's home"],
    ['ConnectTimeout soon', 'is no time'],
    ['IdentitiesOnly maybe', 'neither yes nor no'],
    ['ProxyJump a:b', 'no [user@]host[:port]'],
    ['ProxyJump -oProxyCommand=x', 'no [user@]host[:port]'],
    ['ProxyJump a, b', 'more than one value'],
  ])('is refused with its place when it is malformed: %j', (text, part) => {
    const error = refusal(text);
    expect(error.code).toBe('invalid-input');
    expect(error.message).toContain('/config:');
    expect(error.message).toContain(part);
  });

  it('takes any text for settings or refuses it as malformed, and never fails otherwise', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'Host',
        'Match',
        'Port',
        'ProxyJump',
        'all',
        'final',
        '!',
        '=',
        '"',
        "'",
        '\\',
        '%h',
        '*',
        '\n',
        ' ',
      ),
      fc.string({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 30 }), (words) => {
        try {
          settings(words.join(' '));
        } catch (error) {
          if (!isBringupError(error, 'invalid-input', 'unsupported')) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });

  it('has settled the name before the second reading, whose HostName says nothing new', () => {
    expect(settings('Match final\nHostName %h.lab\nPort 23\n', { hostname: 'a' })).toMatchObject({
      hostname: 'a',
      port: 23,
    });
    expect(settings('HostName %h.lab\nMatch final host=a.lab\nPort 23\n', { hostname: 'a' })).toMatchObject({
      hostname: 'a.lab',
      port: 23,
    });
  });

  it('is read a second time though what asks for that stands where nothing holds', () => {
    const included = [{ path: '/asks', lines: parseConfig('Match !final\n', '/asks') }];
    const lines = parseConfig('HostName c\nHost ?\nInclude asks\nUser u1\n', '/config').map((line) =>
      line.keyword === 'include' ? { ...line, included } : line,
    );
    const read = settingsFor([{ path: '/config', lines }], { hostname: 'B1', local });
    // Only the second reading looks at the name that the first one came to.
    expect(read).toMatchObject({ hostname: 'c', username: 'u1' });
  });

  it('keeps what its first lines say, whatever stands behind them', () => {
    fc.assert(
      fc.property(configTexts, configTexts, hostNames, (first, second, hostname) => {
        // A second reading, which `final` asks for, comes after both.
        fc.pre(!/final|canonical/.test(first.main + second.main));
        const before = settings(first.main.replace('Include INCLUDE\n', ''), { hostname });
        const both = settings(`${first.main}${second.main}`.replaceAll('Include INCLUDE\n', ''), { hostname });
        for (const key of ['port', 'hostKeyAlias', 'serverAliveCount', 'serverAliveIntervalMs'] as const) {
          if (before[key] !== undefined) expect(both[key]).toBe(before[key]);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('configuration files', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'bringup-config-'));
    await mkdir(join(dir, '.ssh', 'more'), { recursive: true });
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));
  const write = async (name: string, text: string): Promise<string> => {
    const path = join(dir, '.ssh', name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const read = (path: string, ownOnly = true): ReturnType<typeof readConfig> =>
    readConfig([{ path, optional: true, ownOnly }], dir);

  it('include others by name and pattern, in the order of their names', async () => {
    await write('more/b.conf', 'User b\nPort 2');
    await write('more/a.conf', 'User a');
    await write('more/.hidden.conf', 'Port 3');
    await write('more/c.txt', 'Port 4');
    const files = await read(await write('config', 'Include more/*.conf nothing ~/.ssh/more/[!ab].txt'));
    expect(settingsFor(files, { hostname: 'x', local })).toMatchObject({ username: 'a', port: 2 });
  });

  it('that include themselves are refused instead of read for ever', async () => {
    const path = await write('config', 'Include config');
    await expect(read(path)).rejects.toMatchObject({ code: 'invalid-input', message: expect.stringContaining('deep') });
  });

  it('that others could have written are refused, the included ones too', async () => {
    const included = await write('loose', 'Port 1');
    const path = await write('config', 'Include loose');
    await chmod(included, 0o620);
    await expect(read(path)).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringContaining('chmod'),
    });
    await expect(read(path, false)).resolves.toHaveLength(1);
  });

  it('that are missing count as empty only where nobody named them', async () => {
    expect(await read(join(dir, 'missing'))).toEqual([]);
    await expect(
      readConfig([{ path: join(dir, 'missing'), optional: false, ownOnly: false }], dir),
    ).rejects.toMatchObject({ code: 'invalid-input' });
  });

  const warnings: unknown[] = [];
  const router = (path: string): Router => {
    const log = (): void => undefined;
    return new Router({
      logger: { debug: log, info: log, error: log, warn: (facts) => warnings.push(facts) },
      configFiles: [{ path, optional: false, ownOnly: true }],
      hostKeys: { acceptNew: false, pinned: {} },
      knownHosts: undefined,
      agent: undefined,
      keepaliveIntervalMs: undefined,
      keepaliveCount: undefined,
    });
  };
  const way = (endpoint: Endpoint | undefined): readonly string[] =>
    endpoint === undefined
      ? []
      : [...way(endpoint.via), `${endpoint.credentials.username}@${endpoint.host}:${endpoint.port}`];

  it('lead through several hosts; the first may have its own way, the others follow it', async () => {
    const path = await write(
      'config',
      `Host board
         ProxyJump first,u2@second:22
       Host first
         HostName 10.0.0.1
         User u1
         Port 2201
         ProxyJump gate
       Host second
         ProxyJump never-asked
       Host gate
         User g`,
    );
    const target: ShellTarget = { hostname: 'board', username: 'root', password: new Secret('pw') };
    const endpoint = await router(path).route(target);
    expect(way(endpoint)).toEqual(['g@gate:22', 'u1@10.0.0.1:2201', 'u2@second:22', 'root@board:22']);
    expect(endpoint.credentials.password).toBeDefined();
    expect(endpoint.via?.credentials.password).toBeUndefined();
  });

  it('that lead in a circle are refused with the circle', async () => {
    const path = await write('config', 'Host *\n  ProxyJump gate');
    await expect(router(path).route({ hostname: 'board', username: 'root' })).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringContaining('board, then gate, then gate'),
    });
  });

  it('look host keys up under the name that is connected to, or under the alias', async () => {
    const path = await write(
      'config',
      'Host b\n  HostName b.lab\n  Port 2222\nHost c\n  HostKeyAlias one\n  Port 2222',
    );
    const keyName = async (target: Partial<ShellTarget>): Promise<unknown> =>
      (await router(path).route({ hostname: 'b', username: 'root', ...target })).keyName;
    expect(await keyName({})).toEqual({ hostname: 'b.lab', port: 2222 });
    expect(await keyName({ address: '10.0.0.9' })).toEqual({ hostname: 'b', port: 2222 });
    expect(await keyName({ hostname: 'c' })).toEqual({ hostname: 'one', port: 22 });
  });

  it('never say that host keys are not verified: it is told once, and they are', async () => {
    const path = await write(
      'config',
      'StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nSendEnv LANG\nCiphers x',
    );
    const one = router(path);
    warnings.length = 0;
    const endpoint = await one.route({ hostname: 'b', username: 'root' });
    await one.route({ hostname: 'c', username: 'root' });
    expect(endpoint.hostKeys).toMatchObject({ acceptNew: false, files: ['/dev/null', '/etc/ssh/ssh_known_hosts'] });
    expect(warnings).toEqual([
      { place: `${path}:1`, keyword: 'stricthostkeychecking', hostname: 'b' },
      { place: `${path}:4`, keyword: 'ciphers', hostname: 'b' },
    ]);
  });
});
