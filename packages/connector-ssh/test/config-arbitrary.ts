import fc from 'fast-check';

/** Names that generated configurations and questions about them share, so that many of them match. */
export const hostNames: fc.Arbitrary<string> = fc.constantFrom('a', 'b', 'ab', 'abc', 'a.lab', 'B1');

const pattern = fc.oneof(
  hostNames,
  hostNames.map((name) => `!${name}`),
  fc.constantFrom('*', 'a*', '?', '*.lab', '!*b', 'A*'),
);
const patterns = (separator: string): fc.Arbitrary<string> =>
  fc.array(pattern, { minLength: 1, maxLength: 3 }).map((list) => list.join(separator));

const scope = fc.oneof(
  { weight: 3, arbitrary: patterns(' ').map((list) => `Host ${list}`) },
  fc
    .array(
      fc.oneof(
        patterns(',').map((list) => `host ${list}`),
        patterns(',').map((list) => `!host=${list}`),
        patterns(',').map((list) => `originalhost ${list}`),
        fc.constantFrom('user u1', 'user "u*"', 'localuser root', '!localuser root', 'final', '!final', 'canonical'),
      ),
      { minLength: 1, maxLength: 3 },
    )
    .map((criteria) => `Match ${criteria.join(' ')}`),
  fc.constant('Match all'),
);

const setting = fc.oneof(
  fc.constantFrom('HostName %h.lab', 'HostName c', 'hostname=A.LAB', 'HostName "%h%%x"'),
  fc.constantFrom('User u1', 'USER = "u2"', "user 'u 3'", 'User u\\ 4'),
  fc.integer({ min: 1, max: 65_535 }).map((port) => `Port ${port}`),
  fc.constantFrom(
    'IdentityFile ~/.ssh/one',
    'IdentityFile "~/two words"',
    'IdentityFile /keys/%h-%r-%n',
    'IdentityFile %d/k%%#x # comment',
    'IdentityFile none',
  ),
  fc.constantFrom('IdentitiesOnly yes', 'identitiesonly no'),
  fc.constantFrom(
    'ProxyJump none',
    'ProxyJump hop',
    'ProxyJump u@hop:22,[::1]:44',
    'ProxyJump ssh://z@h3:55',
    'ProxyCommand none',
  ),
  fc.constantFrom('ServerAliveInterval 15', 'ServerAliveInterval 1m30s', 'ServerAliveInterval 0'),
  fc.constantFrom('ServerAliveCountMax 5', 'ServerAliveCountMax 0'),
  fc.constantFrom('ConnectTimeout 7', 'ConnectTimeout 1h', 'ConnectTimeout none'),
  fc.constantFrom('UserKnownHostsFile ~/kh1 /kh-%h', 'UserKnownHostsFile none', 'UserKnownHostsFile "/k h"'),
  fc.constantFrom('GlobalKnownHostsFile /global1 /global2', 'GlobalKnownHostsFile none'),
  fc.constantFrom('HostKeyAlias alias', 'HostKeyAlias other'),
  fc.constantFrom('# Port 1', '', '\t'),
);

const lines = fc.array(fc.oneof(scope, { weight: 3, arbitrary: setting }), { maxLength: 14 });

/** A configuration that OpenSSH takes. `INCLUDE` stands for the path of the second file. */
export const configTexts: fc.Arbitrary<{ readonly main: string; readonly included: string }> = fc
  .record({ before: lines, included: lines, after: lines, includes: fc.boolean() })
  .map(({ before, included, after, includes }) => ({
    main: [...before, ...(includes ? ['Include INCLUDE'] : []), ...after].map((line) => `${line}\n`).join(''),
    included: included.map((line) => `  ${line}  \r\n`.replace('\r', line.includes('#') ? '' : '\r')).join(''),
  }));
