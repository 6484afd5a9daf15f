import { DatabaseSync } from 'node:sqlite';
import { SqliteDialect, type Dialect, type Driver } from 'kysely';
import { expect, it } from 'vitest';
import { sqliteFlavor } from '../../src/store/flavor.ts';
import { Store } from '../../src/store/store.ts';
import { systemClock } from '../../src/runtime.ts';

/** Node's SQLite as Kysely's own dialect takes it: with one connection, which somebody has to keep the others from. */
function kyselysOwn(onInit: () => void): Dialect {
  const database = new DatabaseSync(':memory:');
  const prepare = (sql: string) => {
    const statement = database.prepare(sql);
    const given = (parameters: readonly unknown[]) => parameters as never[];
    return {
      reader: statement.columns().length > 0,
      all: (parameters: readonly unknown[]) => statement.all(...given(parameters)),
      run: (parameters: readonly unknown[]) => statement.run(...given(parameters)),
      iterate: (parameters: readonly unknown[]) => statement.iterate(...given(parameters)),
    };
  };
  const dialect = new SqliteDialect({ database: { prepare, close: () => database.close() } as never });
  return {
    createAdapter: () => dialect.createAdapter(),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createIntrospector: (db) => dialect.createIntrospector(db),
    createDriver(): Driver {
      const driver = dialect.createDriver();
      const init = driver.init.bind(driver);
      driver.init = (options) => {
        onInit();
        return init(options);
      };
      return driver;
    },
  };
}

it('a provider may bring another dialect: its driver is initialised once, and its one connection is had by one at a time', async () => {
  let initialised = 0;
  const dialect = kyselysOwn(() => (initialised += 1));
  await using store = await Store.open(
    { open: async () => ({ dialect, flavor: sqliteFlavor, close: async () => undefined }) },
    systemClock,
  );
  await Promise.all(
    ['a', 'b', 'c'].map((name) =>
      store.transaction(async ({ db }) => {
        await db.insertInto('facts').values({ name, value: 'x' }).execute();
        await new Promise((resolve) => setImmediate(resolve));
      }),
    ),
  );
  expect((await store.db.selectFrom('facts').select('name').orderBy('name').execute()).map(({ name }) => name)).toEqual(
    ['a', 'b', 'c'],
  );
  expect(initialised).toBe(1);
});
