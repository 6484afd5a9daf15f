import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { DatabaseSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fakeClock } from '@bringup/core/testing';
import { limits } from '../../src/limits.ts';
import { sqliteFlavor } from '../../src/store/flavor.ts';
import type { SqliteHandle, SqliteStatement } from '../../src/store/sqlite-connection.ts';
import { sqliteDialect } from '../../src/store/sqlite-dialect.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { Store, type StoreTransaction } from '../../src/store/store.ts';

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'bringup-groups-'));
  file = path.join(folder, 'lab.db');
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A store whose statements a test hears of, and can make fail, right before they run. */
interface Watched extends AsyncDisposable {
  readonly store: Store;
  readonly database: DatabaseSync;
  commits(): number;
  /** The next statement that matches runs `act` instead. */
  instead(statement: RegExp, act: () => never): void;
}

async function watchedStore(at = ':memory:'): Promise<Watched> {
  const { database } = await openSqlite({ path: at });
  let commits = 0;
  let trap: { readonly statement: RegExp; readonly act: () => never } | undefined;
  const before = (text: string): void => {
    if (text === 'commit') commits += 1;
    if (trap?.statement.test(text) !== true) return;
    const { act } = trap;
    trap = undefined;
    act();
  };
  const watched = (text: string, statement: SqliteStatement): SqliteStatement => ({
    columns: () => statement.columns?.() ?? [],
    all: (...parameters) => (before(text), statement.all(...parameters)),
    run: (...parameters) => (before(text), statement.run(...parameters)),
    iterate: (...parameters) => statement.iterate(...parameters),
  });
  const handle: SqliteHandle = {
    prepare: (text) => watched(text, database.prepare(text)),
    close: () => database.close(),
    get isTransaction(): boolean {
      return database.isTransaction;
    },
  };
  const open = async () => ({
    dialect: sqliteDialect({ database: handle }),
    flavor: sqliteFlavor,
    close: async () => undefined,
  });
  const store = await Store.open({ open }, fakeClock());
  commits = 0;
  return {
    store,
    database,
    commits: () => commits,
    instead: (statement, act) => (trap = { statement, act }),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

async function write(tx: StoreTransaction, id: string): Promise<void> {
  await tx.db.insertInto('logs').values({ id, size_bytes: 0, ended: 0 }).execute();
}

async function ids(db: Store['db'] | StoreTransaction['db']): Promise<string[]> {
  return (await db.selectFrom('logs').select('id').orderBy('id').execute()).map(({ id }) => id);
}

const diskFull = (): Error => Object.assign(new Error('database or disk is full'), { errcode: 13 });
const names = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `n${String(index).padStart(4, '0')}`);

describe('transactions that are ready at the same time', () => {
  it('share one commit, and each resolves only once what it did is on the disk', async () => {
    await using watched = await watchedStore(file);
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
    const other = new DatabaseSync(file);
    const onDisk = other.prepare('select count(*) as rows from logs where id = ?');
    await Promise.all(
      names(20).map(async (id) => {
        await watched.store.transaction((tx) => write(tx, id));
        expect({ ...onDisk.get(id) }).toEqual({ rows: 1 });
      }),
    );
    other.close();
    expect(watched.commits()).toBe(1);
  });

  it('are not waited for: one that is alone commits at once, without a timer', async () => {
    await using watched = await watchedStore();
    let done = false;
    void watched.store.transaction((tx) => write(tx, 'a')).then(() => (done = true));
    await nextTurn();
    expect([done, watched.commits()]).toEqual([true, 1]);
  });

  it('lose only the one that throws, wherever it stands', async () => {
    for (const bad of [0, 2, 4]) {
      await using watched = await watchedStore();
      const outcomes = await Promise.allSettled(
        names(5).map((id, index) =>
          watched.store.transaction(async (tx) => {
            await write(tx, id);
            if (index === bad) throw new Error('changed my mind');
          }),
        ),
      );
      expect(outcomes.map(({ status }) => status)).toEqual(
        names(5).map((_, index) => (index === bad ? 'rejected' : 'fulfilled')),
      );
      expect(await ids(watched.store.db)).toEqual(names(5).filter((_, index) => index !== bad));
    }
  });

  it('lose only the one that breaks a constraint', async () => {
    await using watched = await watchedStore();
    const outcomes = await Promise.allSettled(
      ['a', 'b', 'a', 'c'].map((id) => watched.store.transaction((tx) => write(tx, id))),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(await ids(watched.store.db)).toEqual(['a', 'b', 'c']);
  });

  it('all fail when their commit does, and the next ones go on', async () => {
    await using watched = await watchedStore();
    watched.instead(/^commit$/, () => {
      throw diskFull();
    });
    const outcomes = await Promise.allSettled(names(3).map((id) => watched.store.transaction((tx) => write(tx, id))));
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { code: 'store-failed', details: { reason: 'full' } },
      });
    }
    await watched.store.transaction((tx) => write(tx, 'later'));
    expect(await ids(watched.store.db)).toEqual(['later']);
  });

  it('all fail when SQLite rolls them back by itself; those that had not begun go on', async () => {
    await using watched = await watchedStore();
    const attempt = (id: string): Promise<void> =>
      watched.store.transaction(async (tx) => {
        if (id === 'b') {
          watched.instead(/^insert/, () => {
            watched.database.exec('rollback');
            throw diskFull();
          });
        }
        // A program that swallows the error must not go on outside of its transaction.
        await write(tx, id).catch(() => undefined);
        await write(tx, `${id}2`);
      });
    const outcomes = await Promise.allSettled(['a', 'b', 'c'].map(attempt));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
    expect(outcomes[0]).toMatchObject({ reason: { code: 'store-failed', details: { reason: 'full' } } });
    expect(await ids(watched.store.db)).toEqual(['c', 'c2']);
  });

  it('see their own and earlier work and nothing else, however they interleave', async () => {
    const member = fc.record({ fails: fc.boolean(), pauses: fc.nat(2), startsAfter: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(fc.array(member, { minLength: 1, maxLength: 12 }), async (members) => {
        await using watched = await watchedStore();
        const committed: string[] = [];
        let inside = 0;
        await Promise.all(
          members.map(async ({ fails, pauses, startsAfter }, index) => {
            const id = names(members.length)[index] ?? '';
            for (let turn = 0; turn < startsAfter; turn += 1) await nextTurn();
            const change = watched.store.transaction(async (tx) => {
              expect((inside += 1)).toBe(1);
              expect(await ids(tx.db)).toEqual(committed.toSorted());
              await write(tx, id);
              for (let turn = 0; turn < pauses; turn += 1) await nextTurn();
              expect(await ids(tx.db)).toEqual([...committed, id].toSorted());
              inside -= 1;
              if (fails) throw new Error('changed my mind');
              committed.push(id);
            });
            if (fails) await expect(change).rejects.toThrow('changed my mind');
            else await change;
          }),
        );
        expect(await ids(watched.store.db)).toEqual(committed.toSorted());
      }),
      { numRuns: 100 },
    );
  });

  it('wake those who wait after the commit, in the order of the transactions', async () => {
    await using watched = await watchedStore();
    const heard: string[] = [];
    using _a = watched.store.onCommit('log:a', () => heard.push(`a after ${watched.commits()}`));
    using _b = watched.store.onCommit('log:b', () => heard.push(`b after ${watched.commits()}`));
    await Promise.all(
      (['log:b', 'log:a', 'log:b'] as const).map((topic, index) =>
        watched.store.transaction(async (tx) => {
          tx.wake(topic);
          await write(tx, `${index}`);
        }),
      ),
    );
    expect(heard).toEqual(['b after 1', 'a after 1', 'b after 1']);
  });

  it('are refused a query after their end, which would run in the transaction of another', async () => {
    await using watched = await watchedStore();
    let late: Promise<unknown> = Promise.resolve();
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const first = watched.store.transaction(async (tx) => {
      await write(tx, 'a');
      late = ended.then(() => write(tx, 'late'));
      late.catch(() => undefined);
    });
    const second = watched.store.transaction(async (tx) => {
      end();
      await nextTurn();
      await write(tx, 'b');
    });
    await Promise.all([first, second]);
    await expect(late).rejects.toThrow(TypeError);
    expect(await ids(watched.store.db)).toEqual(['a', 'b']);
  });
});

describe('a reader', () => {
  it('sees nothing of a group before all of it is committed', async () => {
    await using watched = await watchedStore();
    const reads: Promise<string[]>[] = [];
    await Promise.all(
      names(3)
        .map((id) =>
          watched.store.transaction(async (tx) => {
            await write(tx, id);
            // From outside of the transaction's own context.
            await new Promise<void>((resolve) => outside.push(resolve));
          }),
        )
        .concat(
          (async () => {
            for (let turn = 0; turn < 3; turn += 1) {
              await nextTurn();
              reads.push(ids(watched.store.db));
              outside.shift()?.();
            }
          })(),
        ),
    );
    for (const read of reads) expect(await read).toEqual(names(3));
    expect(watched.commits()).toBe(1);
  });

  it('waits for one group at most, however many transactions are in line', async () => {
    await using watched = await watchedStore();
    const all = names(limits.storeGroupMembers * 4);
    const writing = Promise.all(all.map((id) => watched.store.transaction((tx) => write(tx, id))));
    const seen = await ids(watched.store.db);
    expect(seen).toHaveLength(limits.storeGroupMembers);
    await writing;
    expect(watched.commits()).toBe(4);
  });

  const outside: (() => void)[] = [];
});

describe('a writer', () => {
  it('is not kept waiting by those who always read', async () => {
    await using watched = await watchedStore();
    let written = false;
    let reads = 0;
    const reader = async (): Promise<void> => {
      while (!written) {
        await ids(watched.store.db);
        reads += 1;
        if (reads > 1_000) throw new Error('the writer starves');
      }
    };
    const readers = [reader(), reader(), reader()];
    await watched.store.transaction((tx) => write(tx, 'a'));
    written = true;
    await Promise.all(readers);
    expect(await ids(watched.store.db)).toEqual(['a']);
  });
});

describe('a store that always has a next transaction', () => {
  it('lets the event loop turn', async () => {
    await using watched = await watchedStore();
    let stop = false;
    setTimeout(() => (stop = true), 1);
    let done = 0;
    while (!stop) {
      await watched.store.transaction((tx) => write(tx, String(done)));
      done += 1;
    }
    expect(done).toBeGreaterThan(0);
  });
});

describe('a process that is killed', () => {
  it('has on the disk whole what it was told is there, and nothing in halves', async () => {
    const children = Array.from({ length: 3 }, async (_, round) => {
      const at = path.join(folder, `${round}.db`);
      const child = spawn(
        process.execPath,
        [
          '--conditions=bringup-source',
          '--disable-warning=ExperimentalWarning',
          path.join(import.meta.dirname, 'fixtures', 'write-pairs.ts'),
          at,
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const told: string[] = [];
      for await (const line of createInterface({ input: child.stdout })) {
        told.push(line);
        if (told.length === 200 + 50 * round) child.kill('SIGKILL');
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await using watched = await watchedStore(at);
      const { rows } = await sql<{ id: string; halves: number }>`
        select substr(id, 3) as id, count(*) as halves from logs group by 1`.execute(watched.store.db);
      const halves = new Map(rows.map((row) => [row.id, row.halves]));
      expect([...halves.values()].filter((count) => count !== 2)).toEqual([]);
      expect(told.filter((id) => !halves.has(id))).toEqual([]);
      expect(told.length).toBeGreaterThanOrEqual(200);
    });
    await Promise.all(children);
  });
});
