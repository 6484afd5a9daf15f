import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { downloadScript, resumeScript, scriptExit } from '../src/scripts.ts';

let dir: string;
let part: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bringup-resume-'));
  part = join(dir, '.bringup-1.part');
  path = join(dir, 'file');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Flushing each of hundreds of tiny files to the disk would take most of the time. */
const withoutFlush = resumeScript.replace('{ sync -- "$part" 2>/dev/null || sync; } &', ': &');
const command = (whole: Uint8Array): string[] => [
  ...['-c', withoutFlush, 'upload', part, path, '640'],
  ...[String(whole.length), sha256(whole)],
];

/** The script in a real sh, which hears `input` and then the end of the connection. */
function store(whole: Uint8Array, input: Uint8Array): { status: number | null; stdout: string } {
  return spawnSync('/bin/sh', command(whole), { input, encoding: 'utf8' });
}

const someBytes = fc.uint8Array({ minLength: 1, maxLength: 300 });

describe('an upload that was cut', () => {
  it('goes on at any byte, and the file is whole', () => {
    expect(withoutFlush).not.toBe(resumeScript);
    fc.assert(
      fc.property(someBytes, fc.nat(), (bytes, cut) => {
        const have = cut % (bytes.length + 1);
        writeFileSync(part, bytes.subarray(0, have));
        const { status, stdout } = store(bytes, bytes.subarray(have));
        expect({ status, stdout }).toEqual({ status: 0, stdout: `have:${have}\nsha256:${sha256(bytes)}\n` });
        expect(sha256(readFileSync(path))).toBe(sha256(bytes));
        expect(readdirSync(dir)).toEqual(['file']);
      }),
      { numRuns: 100 },
    );
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  it('keeps what had arrived as often as it is cut', () => {
    const bytes = Buffer.from('0123456789');
    for (const [have, until] of [
      [0, 3],
      [3, 3],
      [3, 7],
    ] as const) {
      const { status, stdout } = store(bytes, bytes.subarray(have, until));
      expect({ status, stdout }).toEqual({ status: scriptExit.incomplete, stdout: `have:${have}\n` });
      expect(readFileSync(part)).toEqual(bytes.subarray(0, until));
    }
  });

  it('is not completed by what a damaged part makes of it, and starts anew then', () => {
    const bytes = Buffer.from('what is meant');
    writeFileSync(part, 'what was?');
    expect(store(bytes, bytes.subarray(9)).status).toBe(scriptExit.mismatch);
    expect(readdirSync(dir)).toEqual([]);
    expect(store(bytes, bytes)).toMatchObject({ status: 0, stdout: expect.stringContaining('have:0\n') });
  });

  it('never goes on in a file that somebody else has put there', () => {
    const victim = join(dir, 'victim');
    writeFileSync(victim, 'keep');
    symlinkSync(victim, part);
    const bytes = Buffer.from('mine, all of it');
    expect(store(bytes, bytes).status).toBe(0);
    expect(readFileSync(victim, 'utf8')).toBe('keep');
    expect(readFileSync(path)).toEqual(bytes);
  });

  it('does not lie about for ever: parts nobody came back for are removed, whatever else is there stays', () => {
    const old = new Date(Date.now() - 3 * 86_400_000);
    for (const name of ['.bringup-old.part', 'old.part']) {
      writeFileSync(join(dir, name), '');
      utimesSync(join(dir, name), old, old);
    }
    writeFileSync(join(dir, '.bringup-new.part'), '');
    store(Buffer.from('x'), Buffer.from('x'));
    expect(readdirSync(dir).sort()).toEqual(['.bringup-new.part', 'file', 'old.part']);
  });

  it('is not harmed by a writer whose connection dies late', async () => {
    const bytes = Buffer.from('0123456789');
    writeFileSync(part, '012');
    const late = spawn('/bin/sh', command(bytes), { stdio: ['pipe', 'pipe', 'ignore'] });
    await once(late.stdout, 'data');
    expect(store(bytes, bytes.subarray(3)).status).toBe(0);
    late.stdin.end('3456');
    const [status] = (await once(late, 'exit')) as [number];
    expect(status).toBe(scriptExit.incomplete);
    expect(readFileSync(path)).toEqual(bytes);
    expect(readdirSync(dir)).toEqual(['file']);
  });
});

describe('a download that was cut', () => {
  it('sends what is behind any byte, and the hash of the whole file', () => {
    fc.assert(
      fc.property(someBytes, fc.nat(), (bytes, cut) => {
        const have = cut % (bytes.length + 1);
        writeFileSync(path, bytes);
        const told = spawnSync('/bin/sh', ['-c', downloadScript, 'download', path, `${have + 1}`]);
        expect(told.status).toBe(0);
        expect(told.stdout).toEqual(Buffer.concat([Buffer.from(`${bytes.length}\n`), bytes.subarray(have)]));
        expect(told.stderr.toString()).toMatch(new RegExp(`^${sha256(bytes)}\\b`));
      }),
      { numRuns: 100 },
    );
  });
});
