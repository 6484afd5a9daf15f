import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PostgresServer } from '../../../../test/fixtures/postgres.ts';
import { freePort } from '../../../../test/fixtures/ports.ts';
import { startTcpProxy } from '../../../../test/fixtures/tcp-proxy.ts';
import type { EventMap } from '../../src/events.ts';
import { Secret } from '../../src/model/secret.ts';
import { silentLogger, systemClock } from '../../src/runtime.ts';
import { EventFeed } from '../../src/store/feed.ts';
import { PostgresConnection, type Pg } from '../../src/store/postgres-connection.ts';
import { postgres, type PostgresOptions } from '../../src/store/postgres-provider.ts';
import { Store } from '../../src/store/store.ts';
import { withLimits } from '../support/limits.ts';

let server: PostgresServer;
let schema: string;
let number = 0;

beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  schema = `lab_${(number += 1)}`;
});

const open = (options: PostgresOptions = {}): Promise<Store> =>
  Store.open(postgres({ url: server.url, schema, ...options }), systemClock);

const note = (id: string): EventMap['resource:updated'] => ({ id, kind: 'board', name: id }) as never;

async function addFact(store: Store, name: string, after?: () => Promise<unknown>): Promise<void> {
  await store.transaction(async ({ db }) => {
    await db.insertInto('facts').values({ name, value: 'x' }).execute();
    await after?.();
  });
}

async function facts(store: Store): Promise<string[]> {
  const rows = await store.db.selectFrom('facts').select('name').orderBy('name').execute();
  return rows.map(({ name }) => name);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Asks the server itself. */
async function ask(text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

/** Ends the connections of labs, all or those whose last statement begins so. */
async function hangUp(statement = ''): Promise<number> {
  const ended = await ask(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'bringup' and query ilike '${statement}%'`,
  );
  return ended.length;
}

/** Kills a backend, upon which the server ends all others and recovers. */
async function crashOfABackend(): Promise<void> {
  const client = new pg.Client({ connectionString: server.url });
  client.on('error', () => undefined);
  await client.connect();
  const [row] = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows;
  const before = await checkpointer();
  process.kill(row?.pid ?? 0, 'SIGKILL');
  for (;;) {
    const now = await checkpointer().catch(() => before);
    if (now !== before) return;
  }
}

/** One of the server's own processes. */
async function checkpointer(): Promise<unknown> {
  return (await ask("select pid from pg_stat_activity where backend_type = 'checkpointer'"))[0]?.['pid'] ?? 0;
}

/** A way to the server that breaks at the next such statement: before it got there, or before its answer is back. */
async function breaking(
  where: 'before' | 'after',
  statement: 'begin' | 'commit',
): Promise<AsyncDisposable & { url: string; arm(): void }> {
  let armed = false;
  const sockets = new Set<Socket>();
  const proxy = createServer((near) => {
    const far = connect(Number(new URL(server.url).port), '127.0.0.1');
    let cutting = false;
    const cut = (): void => {
      armed = false;
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => (sockets.delete(socket), near.destroy(), far.destroy()));
    }
    near.on('data', (chunk: Buffer) => {
      const asked = armed && chunk.includes(`${statement}\0`);
      if (asked && where === 'before') return cut();
      cutting ||= asked;
      far.write(chunk);
    });
    // The server has done it once it answers.
    far.on('data', (chunk: Buffer) => (cutting ? cut() : near.write(chunk)));
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const url = new URL(server.url);
  url.port = String((proxy.address() as AddressInfo).port);
  return {
    url: url.href,
    arm: () => (armed = true),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}

describe('a lab in PostgreSQL', () => {
  it('is made once, however many processes open it at the same time', async () => {
    const stores = await Promise.all(Array.from({ length: 8 }, () => open()));
    await Promise.all(stores.map((store, index) => addFact(store, `${index}`)));
    expect(await facts(stores[0] as Store)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    await Promise.all(stores.map((store) => store[Symbol.asyncDispose]()));
  });

  it('has its schema for itself', async () => {
    await using here = await open();
    await using there = await open({ schema: `${schema}_other` });
    await addFact(here, 'here');
    expect([await facts(here), await facts(there)]).toEqual([['here'], []]);
  });

  it('orders text by its bytes, whatever language the database speaks', async () => {
    await ask("create database german template template0 locale_provider icu icu_locale 'de-DE' locale 'C.UTF-8'");
    const url = new URL(server.url);
    url.pathname = '/german';
    await using store = await open({ url: url.href });
    for (const name of ['b', 'a', 'B', 'ä', '_', 'A-1', 'A']) await addFact(store, name);
    expect(await facts(store)).toEqual(['A', 'A-1', 'B', '_', 'a', 'b', 'ä']);
  });

  it('numbers events in the order of their commits: who reads on after each misses none', async () => {
    await using here = await open();
    await using there = await open();
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
    await using store = await open();
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
    await using store = await open();
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

describe('word of commits', () => {
  it('reaches other processes with the commit, says of what, and does not reach the one that made it', async () => {
    await using here = await open();
    await using there = await open();
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
    await using here = await open();
    await using there = await open();
    await until(listening, 2);
    expect(await hangUp('listen')).toBe(2);
    await until(listening, 2);
    const heard = Promise.withResolvers<void>();
    using _there = there.onCommit('work', heard.resolve);
    await here.transaction(async (tx) => tx.wake('work'));
    await heard.promise;
  });

  const listening = async (): Promise<number> =>
    (
      await ask(
        `select 1 from pg_stat_activity where application_name = 'bringup' and query = 'listen "bringup ${schema}"' and state = 'idle'`,
      )
    ).length;

  async function until(count: () => Promise<number>, wanted: number): Promise<void> {
    while ((await count()) !== wanted) await turn();
  }
});

describe('a connection that is lost', () => {
  it('in a transaction undoes it, says that it may be tried again, and the next one goes through', async () => {
    await using store = await open();
    const failing = addFact(store, 'a', async () => {
      await hangUp('insert into "facts"');
      // The server lets go of what the transaction had locked.
      while ((await ask("select 1 from pg_locks where locktype = 'advisory'")).length > 0) await turn();
    });
    await expect(failing).rejects.toMatchObject({
      code: 'store-failed',
      retryable: true,
      details: { reason: 'connection' },
    });
    await addFact(store, 'b');
    expect(await facts(store)).toEqual(['b']);
  });

  it('is hung up once, however many of those who used it ask for that', async () => {
    const warnings: string[] = [];
    const note = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', note);
    try {
      const settings = { pg: pg as unknown as Pg, config: { connectionString: server.url }, where: 'the suite’s' };
      const connection = await PostgresConnection.open(settings);
      await Promise.all(Array.from({ length: 20 }, () => connection.close()));
      await turn();
      expect(warnings).toEqual([]);
    } finally {
      process.off('warning', note);
    }
  });

  it('takes those with it that share the transaction, and no others', async () => {
    await using store = await open();
    let members = 0;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, (_, index) =>
        addFact(store, `${index}`, async () => {
          members += 1;
          if (members === 3) await hangUp('insert into "facts"');
        }),
      ),
    );
    const kept = outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [`${index}`] : []));
    expect(kept.length).toBeLessThan(5);
    expect(await facts(store)).toEqual(kept);
  });

  it.each(['before', 'after'] as const)(
    'at a commit, %s it was done: the transaction says what is true',
    async (where) => {
      await using way = await breaking(where, 'commit');
      await using store = await open({ url: way.url });
      await addFact(store, 'first');
      way.arm();
      const [outcome] = await Promise.allSettled([addFact(store, 'second')]);
      expect(outcome?.status).toBe(where === 'after' ? 'fulfilled' : 'rejected');
      expect(await facts(store)).toEqual(where === 'after' ? ['first', 'second'] : ['first']);
    },
  );

  describe.each([
    [
      'the server',
      async () => {
        await server.stop('immediate');
        await server.start();
      },
    ],
    ['a backend', crashOfABackend],
  ] as const)(
    'because %s crashes before a commit: nothing of the transaction is there, and it may be tried again',
    (_of, crash) => {
      it.each([
        ['and others have its name', 20],
        ['and nobody has its name', 0],
      ] as const)('%s', async (_name, others) => {
        await using store = await open();
        await addFact(store, 'first');
        const adding = addFact(store, 'second', async () => {
          await crash();
          for (let other = 0; other < others; other += 1) await ask('select pg_current_xact_id()');
        });
        await expect(adding).rejects.toMatchObject({ code: 'store-failed', retryable: true });
        expect(await facts(store)).toEqual(['first']);
      });
    },
  );

  it.each(['before', 'after'] as const)(
    'at the beginning of a transaction, %s that was done: it begins anew, with all that was asked for already',
    async (where) => {
      await using way = await breaking(where, 'begin');
      await using store = await open({ url: way.url });
      await addFact(store, 'first');
      way.arm();
      await store.transaction(async ({ db }) => {
        const adding = ['second', 'third'].map((name) => db.insertInto('facts').values({ name, value: 'x' }).execute());
        await Promise.all(adding);
      });
      expect(await facts(store)).toEqual(['first', 'second', 'third']);
    },
  );

  it('whose transaction is given up before it has begun leaves nothing open', async () => {
    await using way = await breaking('before', 'begin');
    await using store = await open({ url: way.url });
    await addFact(store, 'first');
    way.arm();
    const changed = store.transaction(async () => {
      throw new Error('changed my mind');
    });
    await expect(changed).rejects.toThrow('changed my mind');
    await addFact(store, 'second');
    expect(await ask("select 1 from pg_stat_activity where state like 'idle in transaction%'")).toEqual([]);
    expect(await facts(store)).toEqual(['first', 'second']);
  });

  it('without a word, as when a cable was pulled out, is made anew once an answer is overdue', () =>
    withLimits({ postgresAnswerMs: 1_000, postgresPatienceMs: 2_000, postgresConnectTimeoutMs: 500 }, async () => {
      await using proxy = await startTcpProxy(Number(new URL(server.url).port));
      const url = new URL(server.url);
      url.port = String(proxy.port);
      await using store = await open({ url: url.href });
      await addFact(store, 'a');
      proxy.goBlack();
      const writing = addFact(store, 'b');
      await expect(writing).rejects.toMatchObject({ code: 'store-failed', details: { reason: 'connection' } });
    }));

  it.each(['fast', 'immediate'] as const)('because the server restarts (%s) is waited for', async (how) => {
    await using store = await open();
    await addFact(store, 'a');
    await server.stop(how);
    const reading = facts(store);
    const writing = addFact(store, 'b');
    await server.start();
    await writing;
    expect(await reading).toContain('a');
    expect(await facts(store)).toEqual(['a', 'b']);
  });
});

describe('a database that can’t be used', () => {
  it('says what is wrong', async () => {
    const elsewhere = new URL(server.url);
    elsewhere.pathname = '/nowhere';
    await expect(open({ url: elsewhere.href })).rejects.toMatchObject({
      code: 'store-failed',
      details: { reason: 'missing' },
    });
    const nobody = new URL(server.url);
    nobody.username = 'nobody';
    await expect(open({ url: nobody.href })).rejects.toMatchObject({ details: { reason: 'unauthorized' } });
    const silent = new URL(server.url);
    silent.port = String(await freePort());
    await expect(open({ url: silent.href })).rejects.toMatchObject({
      details: { reason: 'connection' },
      message: expect.stringContaining(`127.0.0.1:${silent.port}`) as unknown,
    });
  });

  it('is not written by a user who may only read', async () => {
    await ask('create role reader login');
    const url = new URL(server.url);
    url.username = 'reader';
    await expect(open({ url: url.href, schema: 'not_mine' })).rejects.toMatchObject({
      details: { reason: 'unwritable' },
    });
  });

  it('takes the password as a secret only', async () => {
    expect(() => postgres({ url: 'postgres://lab:hunter2@db/lab' })).toThrow(/Secret/);
    expect(() => postgres({ url: 'postgres://lab@db/lab?password=hunter2' })).toThrow(/Secret/);
    await using store = await open({ password: new Secret('hunter2') });
    expect(await facts(store)).toEqual([]);
  });

  it.each(['Lab', '1lab', 'pg_lab', 'a'.repeat(64), 'lab"; drop schema public; --'])(
    'refuses the schema %s',
    (name) => {
      expect(() => postgres({ schema: name })).toThrow(TypeError);
    },
  );
});
