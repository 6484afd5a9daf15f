import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { startTcpProxy } from '../../../../test/fixtures/tcp-proxy.ts';
import { PostgresConnection, type Pg } from '../../src/store/postgres-connection.ts';
import { withLimits } from '../support/limits.ts';
import { addFact, facts, serverOfSuite, turn } from '../support/postgres/server-of-suite.ts';

const suite = serverOfSuite();

/** Kills a backend, upon which the server ends all others and recovers. */
async function crashOfABackend(): Promise<void> {
  const client = new pg.Client({ connectionString: suite.server.url });
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
  return (await suite.ask("select pid from pg_stat_activity where backend_type = 'checkpointer'"))[0]?.['pid'] ?? 0;
}

/** A way to the server that breaks at the next such statement: before it got there, or before its answer is back. */
async function breaking(
  where: 'before' | 'after',
  statement: 'begin' | 'commit',
): Promise<AsyncDisposable & { url: string; arm(): void }> {
  let armed = false;
  const sockets = new Set<Socket>();
  const proxy = createServer((near) => {
    const far = connect(Number(new URL(suite.server.url).port), '127.0.0.1');
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
      const asked = armed && chunk.includes(statement === 'begin' ? 'begin; ' : 'commit\0');
      if (asked && where === 'before') return cut();
      cutting ||= asked;
      far.write(chunk);
    });
    // The server has done it once it answers.
    far.on('data', (chunk: Buffer) => (cutting ? cut() : near.write(chunk)));
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const url = new URL(suite.server.url);
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

describe('a connection that is lost', () => {
  it('in a transaction undoes it, says that it may be tried again, and the next one goes through', async () => {
    await using store = await suite.open();
    const failing = addFact(store, 'a', async () => {
      await suite.hangUp('insert into "facts"');
      // The server lets go of what the transaction had locked.
      while ((await suite.ask("select 1 from pg_locks where locktype = 'advisory'")).length > 0) await turn();
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
      const settings = {
        pg: pg as unknown as Pg,
        config: { connectionString: suite.server.url },
        where: 'the suite’s',
      };
      const connection = await PostgresConnection.open(settings);
      await Promise.all(Array.from({ length: 20 }, () => connection.close()));
      await turn();
      expect(warnings).toEqual([]);
    } finally {
      process.off('warning', note);
    }
  });

  it('takes those with it that share the transaction, and no others', async () => {
    await using store = await suite.open();
    let members = 0;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, (_, index) =>
        addFact(store, `${index}`, async () => {
          members += 1;
          if (members === 3) await suite.hangUp('insert into "facts"');
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
      await using store = await suite.open({ url: way.url });
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
        await suite.server.stop('immediate');
        await suite.server.start();
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
        await using store = await suite.open();
        await addFact(store, 'first');
        const adding = addFact(store, 'second', async () => {
          await crash();
          for (let other = 0; other < others; other += 1) await suite.ask('select pg_current_xact_id()');
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
      await using store = await suite.open({ url: way.url });
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
    await using store = await suite.open({ url: way.url });
    await addFact(store, 'first');
    way.arm();
    const changed = store.transaction(async () => {
      throw new Error('changed my mind');
    });
    await expect(changed).rejects.toThrow('changed my mind');
    await addFact(store, 'second');
    expect(await suite.ask("select 1 from pg_stat_activity where state like 'idle in transaction%'")).toEqual([]);
    expect(await facts(store)).toEqual(['first', 'second']);
  });

  it('without a word, as when a cable was pulled out, is made anew once an answer is overdue', () =>
    withLimits({ postgresAnswerMs: 1_000, postgresPatienceMs: 2_000, postgresConnectTimeoutMs: 500 }, async () => {
      await using proxy = await startTcpProxy(Number(new URL(suite.server.url).port));
      const url = new URL(suite.server.url);
      url.port = String(proxy.port);
      await using store = await suite.open({ url: url.href });
      await addFact(store, 'a');
      proxy.goBlack();
      const writing = addFact(store, 'b');
      await expect(writing).rejects.toMatchObject({ code: 'store-failed', details: { reason: 'connection' } });
    }));

  it.each(['fast', 'immediate'] as const)('because the server restarts (%s) is waited for', async (how) => {
    await using store = await suite.open();
    await addFact(store, 'a');
    await suite.server.stop(how);
    const reading = facts(store);
    const writing = addFact(store, 'b');
    await suite.server.start();
    await writing;
    expect(await reading).toContain('a');
    expect(await facts(store)).toEqual(['a', 'b']);
  });
});
