import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { fakeClock } from '@bringup/core/testing';
import { limits } from '../../src/limits.ts';
import { prepared, preparedFor, type Bind } from '../../src/store/prepared.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';

const openStore = (): Promise<Store> => Store.open(sqlite(), fakeClock());

const addLog = prepared((db, p: Bind<{ id: string; size: number }>) =>
  db.insertInto('logs').values({ id: p('id'), size_bytes: p('size'), ended: 0 }),
);

describe('a prepared query', () => {
  it('is built once for all databases of a dialect, inside and outside of transactions', async () => {
    let built = 0;
    const bigger = prepared((db, p: Bind<{ than: number }>) => {
      built += 1;
      return db.selectFrom('logs').select('id').where('size_bytes', '>', p('than')).orderBy('id');
    });
    for (let databases = 1; databases <= 2; databases += 1) {
      await using store = await openStore();
      await store.transaction(async (tx) => {
        for (const [id, size] of [
          ['a', 1],
          ['b', 2],
          ['c', 3],
        ] as const)
          await addLog.run(tx.db, { id, size });
        expect(await bigger.all(tx.db, { than: 1 })).toEqual([{ id: 'b' }, { id: 'c' }]);
      });
      expect(await bigger.first(store.db, { than: 2 })).toEqual({ id: 'c' });
      expect(await bigger.first(store.db, { than: 3 })).toBeUndefined();
    }
    expect(built).toBe(1);
  });

  it('keeps values and constants in their places, however often a value is used', async () => {
    await using store = await openStore();
    await store.transaction((tx) => addLog.run(tx.db, { id: 'a', size: 5 }));
    const grow = prepared((db, p: Bind<{ by: number; id: string; now: number }>) =>
      db
        .updateTable('logs')
        .set((eb) => ({
          size_bytes: eb('size_bytes', '+', p('by')),
          ended: sql<number>`case when cast(${p('by')} as integer) < cast(${p('now')} as integer) then cast(${1} as integer) end`,
        }))
        .where('id', '=', p('id'))
        .where('ended', '=', 0)
        .returning(['size_bytes', 'ended']),
    );
    const row = await store.transaction((tx) => grow.first(tx.db, { id: 'a', by: 7, now: 9 }));
    expect({ ...row }).toEqual({ size_bytes: 12, ended: 1 });
    expect(await store.transaction((tx) => grow.first(tx.db, { id: 'a', by: 7, now: 9 }))).toBeUndefined();
  });

  it('says how many rows it changed', async () => {
    await using store = await openStore();
    const end = prepared((db, p: Bind<{ size: number }>) =>
      db.updateTable('logs').set({ ended: 1 }).where('size_bytes', '<=', p('size')),
    );
    await store.transaction(async (tx) => {
      for (const size of [1, 2, 3]) await addLog.run(tx.db, { id: String(size), size });
      expect(await end.run(tx.db, { size: 2 })).toBe(2);
    });
  });

  it('takes an absent value for null', async () => {
    await using store = await openStore();
    const look = prepared((db, p: Bind<{ value: string | undefined }>) =>
      db.selectNoFrom(sql<string | null>`${p('value')}`.as('value')),
    );
    expect(await look.first(store.db, { value: undefined })).toEqual({ value: null });
  });
});

describe('a query prepared for shapes', () => {
  it('is built once a shape, and lists are as long as the shape says', async () => {
    await using store = await openStore();
    const shapes: unknown[] = [];
    const named = preparedFor((db, p: Bind<{ ids: readonly string[] }>, shape: { readonly ids: number }) => {
      shapes.push(shape);
      const ids = Array.from({ length: shape.ids }, (_, index) => p('ids', index));
      return db.selectFrom('logs').select('id').where('id', 'in', ids).orderBy('id');
    });
    await store.transaction(async (tx) => {
      for (const id of ['a', 'b', 'c']) await addLog.run(tx.db, { id, size: 0 });
    });
    const find = async (...ids: string[]): Promise<string[]> =>
      (await named({ ids: ids.length }).all(store.db, { ids })).map(({ id }) => id);
    expect(await find('a', 'c')).toEqual(['a', 'c']);
    expect(await find('b', 'x')).toEqual(['b']);
    expect(await find('c')).toEqual(['c']);
    expect(shapes).toEqual([{ ids: 2 }, { ids: 1 }]);
  });

  it('keeps the shapes most recently used, and no more than the bound', async () => {
    await using store = await openStore();
    const built: number[] = [];
    const one = preparedFor((db, _p: Bind<object>, shape: number) => {
      built.push(shape);
      return db.selectNoFrom(sql<number>`${sql.lit(shape)}`.as('value'));
    });
    for (let shape = 0; shape <= limits.preparedShapes; shape += 1) {
      await one(shape).all(store.db, {});
      await one(0).all(store.db, {});
    }
    built.length = 0;
    for (const shape of [0, 1]) expect(await one(shape).all(store.db, {})).toEqual([{ value: shape }]);
    expect(built).toEqual([1]);
  });
});
