import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeHostKey, knownHostName, namesHost, parseKnownHosts, wireKeyType } from '../src/known-hosts.ts';

const keyOf = (type: string, body: string): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type), Buffer.from(body)]);
};
const ed = keyOf('ssh-ed25519', 'one');
const other = keyOf('ssh-ed25519', 'two');
const rsa = keyOf('ssh-rsa', 'three');
const line = (hosts: string, key: Buffer, marker = ''): string =>
  `${marker}${hosts} ${key.toString('latin1', 4, 4 + key.readUInt32BE(0))} ${key.toString('base64')} a comment`;
const hashed = (name: string): string => {
  const salt = randomBytes(20);
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
};
const judge = (text: string, name: string, key: Buffer): ReturnType<typeof judgeHostKey> =>
  judgeHostKey(parseKnownHosts(text, '/known'), name, key);

describe('a known_hosts file', () => {
  it('finds a host by its name, its pattern or its hash, whatever the case', () => {
    for (const hosts of ['board-1', 'x,board-1', 'board-*', 'BOARD-?', '*', hashed('board-1')]) {
      expect(judge(line(hosts, ed), knownHostName('Board-1', 22), ed).status).toBe('match');
    }
  });

  it('keeps hosts apart by their port', () => {
    expect(knownHostName('board', 2222)).toBe('[board]:2222');
    expect(judge(line('[board]:2222', ed), '[board]:2222', ed).status).toBe('match');
    expect(judge(line(hashed('[board]:2222'), ed), '[board]:2222', ed).status).toBe('match');
    expect(judge(line('[board]:2222', ed), '[board]:2223', ed).status).toBe('unknown');
    expect(judge(line('[board]:2222', ed), 'board', ed).status).toBe('unknown');
  });

  it('lets a negated pattern take a host out', () => {
    expect(namesHost('*.lab,!secret.lab', 'a.lab')).toBe(true);
    expect(namesHost('*.lab,!secret.lab', 'secret.lab')).toBe(false);
  });

  it('tells a changed key from an unknown host, and says where the known ones are', () => {
    const text = `# comment\n\n${line('board', ed)}\n`;
    const verdict = judge(text, 'board', other);
    expect(verdict.status).toBe('changed');
    expect(verdict).toMatchObject({ known: [{ file: '/known', line: 3 }] });
    expect(judge(text, 'another', other)).toEqual({ status: 'unknown', authorities: [] });
  });

  it('takes a key of a type the host was not known by for a changed one', () => {
    expect(judge(line('board', ed), 'board', rsa).status).toBe('changed');
  });

  it('accepts any of several keys of a host', () => {
    expect(judge(`${line('board', ed)}\n${line('board', rsa)}`, 'board', rsa).status).toBe('match');
  });

  it('refuses a revoked key even where another line trusts it', () => {
    const text = `${line('board', ed)}\n${line('*', ed, '@revoked ')}`;
    expect(judge(text, 'board', ed)).toMatchObject({ status: 'revoked', entry: { line: 2 } });
  });

  it('does not take a certificate authority for a host key', () => {
    const verdict = judge(line('*.lab', ed, '@cert-authority '), 'a.lab', ed);
    expect(verdict).toMatchObject({ status: 'unknown', authorities: [{ line: 1 }] });
  });

  it('passes over lines it can not read', () => {
    const text = ['board', 'board ssh-rsa', 'board ssh-rsa !!!', '@new board ssh-rsa AAAA', line('board', ed)].join(
      '\n',
    );
    expect(parseKnownHosts(text, '/known').map((entry) => entry.line)).toEqual([5]);
  });

  it('matches wildcards as a regular expression would, in bounded time', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (glob, name) => {
        const regexp = new RegExp(`^${glob.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`);
        expect(namesHost(glob, name)).toBe(regexp.test(name));
      }),
      { numRuns: 500 },
    );
    expect(namesHost(`${'*a'.repeat(40)}b`, 'a'.repeat(10_000))).toBe(false);
  });

  it('of any text, and any key on the wire, names hosts or does not, and gives no text of its own away', () => {
    const piece = fc.constantFrom(
      ...[
        '@revoked ',
        '@cert-authority ',
        '@x ',
        'lab',
        '[lab]:22',
        '*',
        '!lab',
        '|1|',
        '|1|a|b',
        '|',
        ',',
        ' ',
        '\t',
        '\n',
        '#',
        '\0',
      ],
      ...['ssh-ed25519 ', 'AAAAC3NzaC1lZDI1NTE5', 'AAAA', '////', '=', 'é'],
    );
    const length = fc.constantFrom(0, 1, 11, 64, 65, 0x7fff_ffff, 0xffff_ffff);
    const key = fc.tuple(length, fc.uint8Array({ maxLength: 80 })).map(([claimed, bytes]) => {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(claimed);
      return Buffer.concat([head, bytes]);
    });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), key, (pieces, wire) => {
        const entries = parseKnownHosts(pieces.join(''), 'file');
        for (const shown of [wire, wire.subarray(0, 3), Buffer.alloc(0)]) {
          expect(['match', 'revoked', 'changed', 'unknown']).toContain(judgeHostKey(entries, 'lab', shown).status);
          // A line break in it would be a line of known_hosts.
          expect(wireKeyType(shown) ?? 'none').toMatch(/^[\x21-\x7e]{1,64}$/);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
