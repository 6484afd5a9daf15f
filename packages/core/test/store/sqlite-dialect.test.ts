import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { CompiledQuery, Kysely, sql, type Generated } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../src/contracts/runtime.ts';
import { limits } from '../../src/limits.ts';
import { systemClock } from '../../src/runtime.ts';
import { SqliteConnection } from '../../src/store/sqlite-connection.ts';
import { sqliteDialect } from '../../src/store/sqlite-dialect.ts';
import { openSqlite } from '../../src/store/sqlite.ts';

interface Tables {
  notes: { id: Generated<number>; text: string; done: Generated<number>; bytes: Uint8Array | null };
  counter: { value: number };
}

const fixture = (name: string): string[] => [
  '--conditions=bringup-source',
  '--disable-warning=ExperimentalWarning',
  path.join(import.meta.dirname, 'fixtures', name),
];

/** Time that stands still until somebody waits, and then passes at once. */
function jumpingClock(onWait: () => void = () => {}): Clock {
  let now = 0;
  return {
    now: () => now,
    timer(delayMs, fire) {
      now += delayMs;
      onWait();
      const handle = setImmediate(fire);
      return { [Symbol.dispose]: () => clearImmediate(handle) };
    },
  };
}

let folder: string;
let file: string;
const open: Kysely<Tables>[] = [];

async function connect(options: { clock?: Clock; lockTimeoutMs?: number } = {}): Promise<Kysely<Tables>> {
  const { dialect } = await openSqlite({ path: file, ...options });
  const db = new Kysely<Tables>({ dialect });
  open.push(db);
  await sql`create table if not exists notes (id integer primary key, text text not null unique, done integer not null default 0, bytes blob)`.execute(
    db,
  );
  return db;
}

async function texts(db: Kysely<Tables>): Promise<string[]> {
  return (await db.selectFrom('notes').select('text').orderBy('id').execute()).map((row) => row.text);
}

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'bringup-sqlite-'));
  file = path.join(folder, 'lab.db');
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((db) => db.destroy()));
  await rm(folder, { recursive: true, force: true });
});

describe('queries', () => {
  test('writes say how many rows they changed and which id they gave', async () => {
    const db = await connect();
    const inserted = await db
      .insertInto('notes')
      .values([{ text: 'a' }, { text: 'b' }] as never)
      .executeTakeFirstOrThrow();
    expect(inserted).toMatchObject({ insertId: 2n, numInsertedOrUpdatedRows: 2n });
    const updated = await db
      .updateTable('notes')
      .set({ done: 1 })
      .where('text', 'in', ['a', 'b', 'c'])
      .executeTakeFirstOrThrow();
    expect(updated.numUpdatedRows).toBe(2n);
    expect((await db.deleteFrom('notes').where('text', '=', 'a').executeTakeFirstOrThrow()).numDeletedRows).toBe(1n);
  });

  test('a write with RETURNING gives its rows', async () => {
    const db = await connect();
    const row = await db
      .insertInto('notes')
      .values({ text: 'a', bytes: null })
      .returning(['id', 'text'])
      .executeTakeFirstOrThrow();
    expect({ ...row }).toEqual({ id: 1, text: 'a' });
  });

  test('a truth value is stored as 0 or 1', async () => {
    const db = await connect();
    await db
      .insertInto('notes')
      .values({ text: 'a', bytes: null, done: true as never })
      .execute();
    expect((await db.selectFrom('notes').select('done').executeTakeFirstOrThrow()).done).toBe(1);
  });

  test('any bytes come back as they were', async () => {
    const db = await connect();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 5_000 }), async (bytes) => {
        const { id } = await db
          .insertInto('notes')
          .values({ text: crypto.randomUUID(), bytes })
          .returning('id')
          .executeTakeFirstOrThrow();
        const row = await db.selectFrom('notes').select('bytes').where('id', '=', id).executeTakeFirstOrThrow();
        expect(Buffer.from(row.bytes ?? []).equals(bytes)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('all rows stream in order, whatever the chunk size, and once more', async () => {
    const db = await connect();
    const expected = Array.from({ length: 10 }, (_, i) => `n${i}`);
    await db
      .insertInto('notes')
      .values(expected.map((text) => ({ text, bytes: null })))
      .execute();
    for (const chunkSize of [1, 3, 10, 100]) {
      const seen: string[] = [];
      for await (const row of db.selectFrom('notes').select('text').orderBy('id').stream(chunkSize))
        seen.push(row.text);
      expect(seen).toEqual(expected);
    }
  });

  test('leaving a stream early gives the connection back', async () => {
    const db = await connect();
    await db
      .insertInto('notes')
      .values([
        { text: 'a', bytes: null },
        { text: 'b', bytes: null },
      ])
      .execute();
    for await (const row of db.selectFrom('notes').selectAll().stream(1)) {
      expect(row.text).toBe('a');
      break;
    }
    await db.deleteFrom('notes').execute();
    expect(await texts(db)).toEqual([]);
  });

  test('a column added later is seen by a query that ran before', async () => {
    const db = await connect();
    await db.insertInto('notes').values({ text: 'a', bytes: null }).execute();
    await db.selectFrom('notes').selectAll().execute();
    await db.schema
      .alterTable('notes')
      .addColumn('extra', 'integer', (column) => column.defaultTo(7))
      .execute();
    expect(await db.selectFrom('notes').selectAll().executeTakeFirstOrThrow()).toMatchObject({ extra: 7 });
  });

  test('a broken constraint is SQLite’s own error', async () => {
    const db = await connect();
    await db.insertInto('notes').values({ text: 'a', bytes: null }).execute();
    await expect(db.insertInto('notes').values({ text: 'a', bytes: null }).execute()).rejects.toThrow(
      /UNIQUE constraint failed/,
    );
  });
});

describe('transactions', () => {
  test('what throws is rolled back, and the connection goes on', async () => {
    const db = await connect();
    const failure = db.transaction().execute(async (tx) => {
      await tx.insertInto('notes').values({ text: 'lost', bytes: null }).execute();
      throw new Error('changed my mind');
    });
    await expect(failure).rejects.toThrow('changed my mind');
    await db.insertInto('notes').values({ text: 'kept', bytes: null }).execute();
    expect(await texts(db)).toEqual(['kept']);
  });

  test('transactions of one process run one after the other, in the order they were asked for', async () => {
    const db = await connect();
    const order: string[] = [];
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        db.transaction().execute(async (tx) => {
          order.push(`begin ${i}`);
          await tx
            .insertInto('notes')
            .values({ text: `n${i}`, bytes: null })
            .execute();
          await new Promise(setImmediate);
          order.push(`end ${i}`);
        }),
      ),
    );
    expect(order).toEqual(Array.from({ length: 20 }, (_, i) => [`begin ${i}`, `end ${i}`]).flat());
  });

  test('a savepoint takes back what came after it only', async () => {
    const db = await connect();
    const tx = await db.startTransaction().execute();
    await tx.insertInto('notes').values({ text: 'a', bytes: null }).execute();
    const point = await tx.savepoint('after "a"').execute();
    await point.insertInto('notes').values({ text: 'b', bytes: null }).execute();
    await point.rollbackToSavepoint('after "a"').execute();
    await tx.commit().execute();
    expect(await texts(db)).toEqual(['a']);
  });

  test('an error after which SQLite rolled back by itself reaches the caller', async () => {
    const db = await connect();
    const failure = db.transaction().execute(async (tx) => {
      await tx.executeQuery(CompiledQuery.raw('rollback'));
      throw new Error('the real one');
    });
    await expect(failure).rejects.toThrow('the real one');
  });

  test('closing waits for a transaction under way', async () => {
    const db = await connect();
    const { promise: inside, resolve: entered } = Promise.withResolvers<void>();
    const { promise: goOn, resolve: proceed } = Promise.withResolvers<void>();
    const work = db.transaction().execute(async (tx) => {
      entered();
      await goOn;
      await tx.insertInto('notes').values({ text: 'late', bytes: null }).execute();
    });
    await inside;
    const closed = db.destroy();
    proceed();
    await Promise.all([work, closed]);
    expect(await texts(await connect())).toEqual(['late']);
  });
});

describe('several connections to one file', () => {
  test('a transaction waits for the one of another process, then sees what it wrote', async () => {
    await connect();
    const child = spawn(process.execPath, [...fixture('hold-write-lock.ts'), file], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    let waits = 0;
    const clock: Clock = {
      now: () => systemClock.now(),
      timer(delayMs, fire) {
        waits += 1;
        if (waits === 1) child.stdin.write('go\n');
        return systemClock.timer(delayMs, fire);
      },
    };
    const { dialect } = await openWithoutLock(clock);
    const db = new Kysely<Tables>({ dialect });
    open.push(db);
    const seen = await db.transaction().execute((tx) => texts(tx));
    expect(seen).toEqual(['from the other process']);
    expect(waits).toBeGreaterThan(0);
  });

  test('a lone write waits too, and the process goes on meanwhile', async () => {
    const first = await connect();
    const holder = await first.startTransaction().execute();
    const { promise: waiting, resolve } = Promise.withResolvers<void>();
    const { dialect } = await openWithoutLock({
      now: () => systemClock.now(),
      timer: (delayMs, fire) => (resolve(), systemClock.timer(delayMs, fire)),
    });
    const second = new Kysely<Tables>({ dialect });
    open.push(second);
    const write = second.insertInto('notes').values({ text: 'second', bytes: null }).execute();
    await waiting;
    await holder.insertInto('notes').values({ text: 'first', bytes: null }).execute();
    await holder.commit().execute();
    await write;
    expect(await texts(first)).toEqual(['first', 'second']);
  });

  test('a lock that stays is a store-failed that may be tried again', async () => {
    const first = await connect();
    const holder = await first.startTransaction().execute();
    const { dialect } = await openWithoutLock(jumpingClock());
    const second = new Kysely<Tables>({ dialect });
    open.push(second);
    await expect(second.transaction().execute((tx) => texts(tx))).rejects.toMatchObject({
      code: 'store-failed',
      retryable: true,
      details: { path: file, reason: 'locked' },
    });
    await holder.rollback().execute();
  });

  test('reads and read-only transactions do not wait for a writer', async () => {
    const first = await connect();
    const holder = await first.startTransaction().execute();
    await holder.insertInto('notes').values({ text: 'not yet', bytes: null }).execute();
    const { dialect } = await openWithoutLock(jumpingClock(() => expect.unreachable('waited')));
    const second = new Kysely<Tables>({ dialect });
    open.push(second);
    expect(await texts(second)).toEqual([]);
    expect(
      await second
        .transaction()
        .setAccessMode('read only')
        .execute((tx) => texts(tx)),
    ).toEqual([]);
    await holder.rollback().execute();
  });

  test('processes that count up together lose no step', async () => {
    const db = await connect();
    await sql`create table counter (value integer not null)`.execute(db);
    await db.insertInto('counter').values({ value: 0 }).execute();
    expect(await runTogether('count-up.ts', 3, '200')).toEqual([0, 0, 0]);
    expect((await db.selectFrom('counter').select('value').executeTakeFirstOrThrow()).value).toBe(600);
  });

  test('processes that migrate a new database at the same time all succeed', async () => {
    expect(await runTogether('migrate-once.ts', 4)).toEqual([0, 0, 0, 0]);
    const db = await connect();
    expect((await db.introspection.getTables()).filter((table) => /^t\d+$/.test(table.name))).toHaveLength(20);
  });

  /** Starts the processes, lets them go once all are ready, and gives their exit codes. */
  async function runTogether(name: string, processes: number, ...args: string[]): Promise<(number | null)[]> {
    const children = Array.from({ length: processes }, () =>
      spawn(process.execPath, [...fixture(name), file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await Promise.all(children.map((child) => once(child.stdout, 'data')));
    return await Promise.all(
      children.map(async (child) => {
        child.stdin.write('go\n');
        const [exitCode] = (await once(child, 'exit')) as [number | null];
        return exitCode;
      }),
    );
  }

  /** Opens the file as a second connection while another one may hold its write lock. */
  async function openWithoutLock(clock: Clock): Promise<{ dialect: ReturnType<typeof sqliteDialect> }> {
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
    return { dialect: sqliteDialect({ database: new DatabaseSync(file), path: file, clock }) };
  }
});

describe('prepared statements', () => {
  test('are not prepared anew because of a limit: it stands in the text', async () => {
    const db = await connect();
    for (const word of ['a', 'b', 'c']) await db.insertInto('notes').values({ text: word }).execute();
    const query = db.selectFrom('notes').select('text').orderBy('id').limit(2).offset(1);
    expect(query.compile()).toMatchObject({
      sql: expect.stringMatching(/limit 2 offset \?$/) as string,
      parameters: [1],
    });
    expect(await query.execute()).toEqual([{ text: 'b' }, { text: 'c' }]);
    const bound = db
      .selectFrom('notes')
      .select('text')
      .orderBy('id')
      .limit(sql<number>`${1} + 1`);
    expect(await bound.execute()).toHaveLength(2);
  });

  test('one per text is kept, and only the most recently used', async () => {
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
    const handle = new DatabaseSync(':memory:');
    const prepared: string[] = [];
    const connection = new SqliteConnection({
      handle: { prepare: (text) => (prepared.push(text), handle.prepare(text)), close: () => handle.close() },
      path: ':memory:',
      lockTimeoutMs: 0,
      clock: systemClock,
    });
    const run = (text: string): Promise<unknown> => connection.executeQuery(CompiledQuery.raw(text));
    for (let i = 0; i < limits.sqliteStatements * 3; i += 1) {
      await run(`select ${i}`);
      await run('select -1');
    }
    expect(connection.preparedStatements).toBe(limits.sqliteStatements);
    expect(prepared.filter((text) => text === 'select -1')).toHaveLength(1);
    handle.close();
  });
});
