import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/runtime.ts';
import { openSqlite } from '../../src/store/sqlite.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'bringup-sqlite-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('opening makes missing folders, and sets durable commits and foreign keys', async () => {
  const { database, close } = await openSqlite({ path: path.join(folder, 'a', 'b', 'lab.db') });
  expect({ ...database.prepare('pragma journal_mode').get() }).toEqual({ journal_mode: 'wal' });
  expect({ ...database.prepare('pragma synchronous').get() }).toEqual({ synchronous: 2 });
  expect({ ...database.prepare('pragma foreign_keys').get() }).toEqual({ foreign_keys: 1 });
  close();
  close();
});

test('a database in memory needs no file', async () => {
  const { database, close } = await openSqlite({ path: ':memory:' });
  expect({ ...database.prepare('select 1 as one').get() }).toEqual({ one: 1 });
  close();
});

test('a file that is no database is left alone and named', async () => {
  const file = path.join(folder, 'notes.txt');
  await writeFile(file, 'buy milk\n'.repeat(1_000));
  await expect(openSqlite({ path: file })).rejects.toMatchObject({
    code: 'store-failed',
    retryable: false,
    details: { path: file, reason: 'corrupt' },
    message: expect.stringContaining(file),
  });
});

test('a path that can not be written says so', async () => {
  const file = path.join(folder, 'folder');
  await mkdir(file);
  await expect(openSqlite({ path: file })).rejects.toMatchObject({
    code: 'store-failed',
    details: { reason: 'unwritable' },
  });
  await writeFile(path.join(folder, 'file'), '');
  await expect(openSqlite({ path: path.join(folder, 'file', 'lab.db') })).rejects.toMatchObject({
    code: 'store-failed',
    details: { reason: 'unwritable' },
  });
});

test('opening waits for a lock, and gives up with what to do', async () => {
  const file = path.join(folder, 'lab.db');
  const first = await openSqlite({ path: file });
  first.database.exec('begin immediate');
  await expect(openSqlite({ path: file, lockTimeoutMs: 0 })).rejects.toMatchObject({
    code: 'store-failed',
    retryable: true,
    details: { reason: 'locked' },
    message: expect.stringContaining('fuser'),
  });
  const second = await openSqlite({
    path: file,
    clock: {
      now: () => systemClock.now(),
      timer: (delayMs, fire) => {
        if (first.database.isTransaction) first.database.exec('rollback');
        return systemClock.timer(delayMs, fire);
      },
    },
  });
  second.close();
  first.close();
});

test('opening prints no warning and keeps those of others', async () => {
  const script = `
    const { openSqlite } = await import(${JSON.stringify(path.join(import.meta.dirname, '../../src/store/sqlite.ts'))});
    (await openSqlite({ path: ':memory:' })).close();
    process.emitWarning('something else', 'ExperimentalWarning');`;
  const { stderr } = await promisify(execFile)(process.execPath, [
    '--conditions=bringup-source',
    '--input-type=module',
    '-e',
    script,
  ]);
  expect(stderr).not.toContain('SQLite');
  expect(stderr).toContain('something else');
});
