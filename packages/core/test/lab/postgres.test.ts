import { describe, expect, it } from 'vitest';
import { freePort } from '../../../../test/fixtures/ports.ts';
import type { EventMap } from '../../src/events.ts';
import { Secret } from '../../src/model/secret.ts';
import { silentLogger, systemClock } from '../../src/runtime.ts';
import { EventFeed } from '../../src/store/feed.ts';
import { postgres } from '../../src/store/postgres-provider.ts';
import type { Store } from '../../src/store/store.ts';
import { handler, startEngine } from '../support/engine.ts';
import { addFact, facts, serverOfSuite, turn } from '../support/postgres/server-of-suite.ts';

const suite = serverOfSuite();

const note = (id: string): EventMap['resource:updated'] => ({ id, kind: 'board', name: id }) as never;

describe('a lab in PostgreSQL', () => {
  it('is made once, however many processes open it at the same time', async () => {
    const stores = await Promise.all(Array.from({ length: 8 }, () => suite.open()));
    await Promise.all(stores.map((store, index) => addFact(store, `${index}`)));
    expect(await facts(stores[0] as Store)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    await Promise.all(stores.map((store) => store[Symbol.asyncDispose]()));
  });

  it('has its schema for itself', async () => {
    await using here = await suite.open();
    await using there = await suite.open({ schema: `${suite.schema}_other` });
    await addFact(here, 'here');
    expect([await facts(here), await facts(there)]).toEqual([['here'], []]);
  });

  it('orders text by its bytes, whatever language the database speaks', async () => {
    await suite.ask(
      "create database german template template0 locale_provider icu icu_locale 'de-DE' locale 'C.UTF-8'",
    );
    const url = new URL(suite.server.url);
    url.pathname = '/german';
    await using store = await suite.open({ url: url.href });
    for (const name of ['b', 'a', 'B', 'ä', '_', 'A-1', 'A']) await addFact(store, name);
    expect(await facts(store)).toEqual(['A', 'A-1', 'B', '_', 'a', 'b', 'ä']);
  });

  it('numbers events in the order of their commits: who reads on after each misses none', async () => {
    await using here = await suite.open();
    await using there = await suite.open();
    using feed = new EventFeed({ store: here, clock: systemClock, logger: silentLogger });
    const enough = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { subject } of feed.read({ follow: true, signal: enough.signal })) {
        seen.push(subject);
        if (seen.length === 100) return;
      }
    })();
    const writing = [here, there].flatMap((store, index) =>
      Array.from({ length: 50 }, (_, at) =>
        store.transaction((tx) => tx.emit('resource:updated', `${index}-${at}`, note('x'))),
      ),
    );
    await Promise.all(writing);
    await reading;
    expect(new Set(seen).size).toBe(100);
  });

  it('undoes of transactions that share a commit only the one that fails', async () => {
    await using store = await suite.open();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 30 }, (_, index) =>
        addFact(store, `${index % 10}`, async () => {
          if (index === 5) throw new Error('changed my mind');
        }),
      ),
    );
    // Each name is taken by the first that keeps it; the others break the primary key.
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
    expect(await facts(store)).toHaveLength(10);
  });

  it('says so when a transaction goes on after a statement that failed', async () => {
    await using store = await suite.open();
    await addFact(store, 'a');
    const careless = store.transaction(async ({ db }) => {
      await db.insertInto('facts').values({ name: 'b', value: 'x' }).execute();
      await db
        .insertInto('facts')
        .values({ name: 'a', value: 'x' })
        .execute()
        .catch(() => undefined);
    });
    await expect(careless).rejects.toThrow(/duplicate key/);
    expect(await facts(store)).toEqual(['a']);
  });
});

describe('durable work in PostgreSQL', () => {
  const read = async (): Promise<unknown> => {
    // What a connection has counted, it tells when it ends.
    while ((await suite.ask("select from pg_stat_activity where application_name = 'bringup'")).length > 0)
      await turn();
    const where = `schemaname = '${suite.schema}' and relname = 'work_items'`;
    return (await suite.ask(`select seq_scan from pg_stat_user_tables where ${where}`))[0]?.['seq_scan'];
  };

  it('never reads the whole table, though it was empty when its connection asked first', async () => {
    await (await suite.open())[Symbol.asyncDispose]();
    const before = await read();
    {
      await using store = await suite.open();
      await using t = await startEngine(
        [handler('deployment', (context) => context.child('boot', 'boot', {})), handler('boot', async () => undefined)],
        { store },
      );
      for (let n = 0; n < 50; n += 1) {
        const item = await t.engine.finished(await t.engine.submit('deployment', {}));
        expect(item.state).toBe('succeeded');
      }
    }
    expect(await read()).toBe(before);
  });
});

describe('word of commits', () => {
  it('reaches other processes with the commit, says of what, and does not reach the one that made it', async () => {
    await using here = await suite.open();
    await using there = await suite.open();
    await until(listening, 2);
    let heard = 0;
    const [back, forth] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    using _there = there.onCommit('work', forth.resolve);
    await here.transaction(async (tx) => tx.wake('work'));
    await forth.promise;
    using _here = here.onCommit('grants', () => {
      heard += 1;
      back.resolve();
    });
    using _ready = here.onCommit('ready:build', () => (heard += 10));
    await here.transaction(async (tx) => tx.wake('ready:build'));
    await there.transaction(async (tx) => tx.wake('work'));
    await there.transaction(async (tx) => tx.wake('grants'));
    await back.promise;
    // They come in order: one's own, and that of something else, would have been before.
    expect(heard).toBe(1);
  });

  it('comes again after the connection it came on was lost', async () => {
    await using here = await suite.open();
    await using there = await suite.open();
    await until(listening, 2);
    expect(await suite.hangUp('listen')).toBe(2);
    await until(listening, 2);
    const heard = Promise.withResolvers<void>();
    using _there = there.onCommit('work', heard.resolve);
    await here.transaction(async (tx) => tx.wake('work'));
    await heard.promise;
  });

  const listening = async (): Promise<number> =>
    (
      await suite.ask(
        `select 1 from pg_stat_activity where application_name = 'bringup' and query = 'listen "bringup ${suite.schema}"' and state = 'idle'`,
      )
    ).length;

  async function until(count: () => Promise<number>, wanted: number): Promise<void> {
    while ((await count()) !== wanted) await turn();
  }
});

describe('a database that can’t be used', () => {
  it('says what is wrong', async () => {
    const elsewhere = new URL(suite.server.url);
    elsewhere.pathname = '/nowhere';
    await expect(suite.open({ url: elsewhere.href })).rejects.toMatchObject({
      code: 'store-failed',
      details: { reason: 'missing' },
    });
    const nobody = new URL(suite.server.url);
    nobody.username = 'nobody';
    await expect(suite.open({ url: nobody.href })).rejects.toMatchObject({ details: { reason: 'unauthorized' } });
    const silent = new URL(suite.server.url);
    silent.port = String(await freePort());
    await expect(suite.open({ url: silent.href })).rejects.toMatchObject({
      details: { reason: 'connection' },
      message: expect.stringContaining(`127.0.0.1:${silent.port}`) as unknown,
    });
  });

  it('is not written by a user who may only read', async () => {
    await suite.ask('create role reader login');
    const url = new URL(suite.server.url);
    url.username = 'reader';
    await expect(suite.open({ url: url.href, schema: 'not_mine' })).rejects.toMatchObject({
      details: { reason: 'unwritable' },
    });
  });

  it('takes the password as a secret only', async () => {
    expect(() => postgres({ url: 'postgres://lab:hunter2@db/lab' })).toThrow(/Secret/);
    expect(() => postgres({ url: 'postgres://lab@db/lab?password=hunter2' })).toThrow(/Secret/);
    await using store = await suite.open({ password: new Secret('hunter2') });
    expect(await facts(store)).toEqual([]);
  });

  it.each(['Lab', '1lab', 'pg_lab', 'a'.repeat(64), 'lab"; drop schema public; --'])(
    'refuses the schema %s',
    (name) => {
      expect(() => postgres({ schema: name })).toThrow(TypeError);
    },
  );
});
