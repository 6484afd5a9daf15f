import { SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, type Dialect, type Driver } from 'kysely';
import { expect, it } from 'vitest';
import { Database } from '../../src/store/database.ts';
import { Store } from '../../src/store/store.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { systemClock } from '../../src/runtime.ts';

/** A dialect that writes down what its driver is asked to do, and fails at one of these things. */
function noting(failing?: string): { readonly dialect: Dialect; readonly asked: string[] } {
  const asked: string[] = [];
  const ask = (what: string) => async (): Promise<never> => {
    asked.push(what);
    if (what === failing) throw new Error(`${what} failed`);
    return { name: 'the connection' } as never;
  };
  const driver: Driver = {
    init: ask('init'),
    acquireConnection: ask('acquire'),
    beginTransaction: ask('begin'),
    commitTransaction: ask('commit'),
    rollbackTransaction: ask('rollback'),
    releaseConnection: ask('release'),
    destroy: ask('destroy'),
  };
  const dialect: Dialect = {
    createDriver: () => driver,
    createAdapter: () => new SqliteAdapter(),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: (db) => new SqliteIntrospector(db),
  };
  return { dialect, asked };
}

it.each([
  ['that goes well is committed', undefined, undefined, ['acquire', 'begin', 'commit', 'release']],
  ['that fails is undone', undefined, 'change failed', ['acquire', 'begin', 'rollback', 'release']],
  [
    'that can’t be committed is undone',
    'commit',
    'commit failed',
    ['acquire', 'begin', 'commit', 'rollback', 'release'],
  ],
  ['that can’t begin has nothing to undo', 'begin', 'begin failed', ['acquire', 'begin', 'release']],
  ['that gets no connection has none to give back', 'acquire', 'acquire failed', ['acquire']],
] as const)('a transaction %s', async (_what, failing, message, expected) => {
  const { dialect, asked } = noting(failing);
  const done = new Database(dialect).transaction(async () => {
    if (message === 'change failed') throw new Error(message);
    return 'what it gives';
  });
  if (message === undefined) expect(await done).toBe('what it gives');
  else await expect(done).rejects.toThrow(message);
  expect(asked).toEqual(expected);
});

it('a transaction that has ended takes no more queries', async () => {
  await using store = await Store.open(sqlite(), systemClock);
  const ended = await store.transaction(async ({ db }) => ({ db }));
  await expect(ended.db.selectFrom('facts').selectAll().execute()).rejects.toThrow('after the end of its transaction');
});
