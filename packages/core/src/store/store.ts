import { AsyncLocalStorage } from 'node:async_hooks';
import { Kysely, type Selectable, type Transaction } from 'kysely';
import type { Clock } from '../contracts/runtime.ts';
import type { EventMap, EventName } from '../events.ts';
import type { OpenedDatabase, StoreProvider } from './provider.ts';
import { migrate } from './migrate.ts';
import { NewEvents } from './new-events.ts';
import { noteConnection } from './prepared.ts';
import type { Schema } from './schema.ts';
import type { WorkRow } from './schema/work.ts';
import { isForOthers, type Topic } from './topics.ts';

/**
 * What has to be seen to before a transaction ends: resources that may have got room, parents whose children have
 * ended, work that is ready.
 */
export type Matter = 'capacity' | 'parents' | 'ready';

/** Seeing to one matter raises only later ones, as a rule. */
const inTurn: readonly Matter[] = ['capacity', 'parents', 'ready'];

/** A claim of an item of work that is only being added. */
export interface NewClaim {
  readonly owner: string;
  /** Milliseconds since the Unix epoch. */
  readonly leaseUntil: number;
  /** Hands over the item as it was added; it runs if and when the transaction commits. */
  readonly took: (row: Selectable<WorkRow>) => void;
}

/** Says whether new work of a kind is claimed as it is added. */
export type ClaimNew = (tx: StoreTransaction, kind: string) => NewClaim | undefined;

/** The handle inside {@link Store.transaction}. */
export interface StoreTransaction {
  readonly db: Transaction<Schema>;
  /** Adds an event, and runs what reacts to it; it is told if and when the transaction commits. */
  emit<N extends EventName>(name: N, subject: string, data: EventMap[N]): Promise<void>;
  /** After the commit, wakes those who wait for the topic. */
  wake(topic: Topic): void;
  /** Claims new work of a kind for this process, if it is to have it at once; the caller adds it and hands it over. */
  claimNew(kind: string): NewClaim | undefined;
  /** At the transaction's end, but still in it, has the matter seen to; once for each key. */
  beforeCommit(matter: Matter, key: string): void;
  /** Has the transaction commit only if this resolves, which is waited for last: what was asked before a change need not be known to make it. */
  commitsIf(check: Promise<void>): void;
  /** Says how the transaction ended, before those who wait for a topic are woken. */
  onEnd(listener: (committed: boolean) => void): void;
}

/** Sees to a matter at the end of a transaction. */
export type Settle = (tx: StoreTransaction, keys: readonly string[]) => Promise<void>;

/** What is done about an event in the transaction that emits it, so that neither is there without the other. */
export type Reaction<N extends EventName> = (tx: StoreTransaction, subject: string, data: EventMap[N]) => Promise<void>;

/**
 * The records of a lab. Reads go through {@link Store.db}, changes through
 * {@link Store.transaction}; no I/O but the database's happens inside one.
 */
export class Store implements AsyncDisposable {
  readonly #kysely: Kysely<Schema>;
  readonly #opened: OpenedDatabase;
  readonly #clock: Clock;
  readonly #inTransaction = new AsyncLocalStorage<true>();
  readonly #waiters = new Map<Topic, Set<() => void>>();
  readonly #settlers = new Map<Matter, Set<Settle>>();
  readonly #claimants: ClaimNew[] = [];
  readonly #reactions = new Map<EventName, Reaction<EventName>[]>();
  readonly #others: Disposable | undefined;
  #closing: Promise<void> | undefined;

  private constructor(opened: OpenedDatabase, clock: Clock) {
    this.#opened = opened;
    this.#clock = clock;
    this.#kysely = new Kysely<Schema>({ dialect: opened.dialect });
    this.#others = opened.signal?.listen((topics) => {
      const any = (): Topic[] => [...this.#waiters.keys()].filter((topic) => !isForOthers(topic));
      for (const topic of topics ?? any()) this.#wake(topic);
    });
  }

  /** Opens the database and brings its schema up to date. @throws `store-failed`. */
  static async open(provider: StoreProvider, clock: Clock): Promise<Store> {
    const opened = await provider.open();
    const store = new Store(opened, clock);
    try {
      await migrate(store.#kysely, opened);
    } catch (error) {
      await store[Symbol.asyncDispose]();
      throw error;
    }
    return store;
  }

  /**
   * For reads outside of transactions. Inside one it throws: on an engine with one connection the
   * query would wait for the transaction, and the transaction for the query, for ever.
   */
  get db(): Kysely<Schema> {
    if (this.#closing !== undefined) throw new TypeError('the lab is closed');
    if (this.#inTransaction.getStore() === true) {
      throw new TypeError("inside a transaction only the transaction's own handle may be used");
    }
    return this.#kysely;
  }

  /** Runs `change` in one transaction: all of it is durable when this resolves, or none of it happened. */
  async transaction<T>(change: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    const topics = new Set<Topic>();
    const matters = new Map<Matter, Set<string>>();
    const events = new NewEvents();
    const listeners: ((committed: boolean) => void)[] = [];
    const checks: Promise<void>[] = [];
    const { signal } = this.#opened;
    const db = this.db;
    const ended = (committed: boolean): void => {
      for (const listener of listeners) listener(committed);
    };
    const execution = db.transaction().execute((trx) =>
      this.#inTransaction.run(true, async () => {
        await noteConnection(trx);
        const tx: StoreTransaction = {
          db: trx,
          wake: (topic) => topics.add(topic),
          beforeCommit: (matter, key) => matters.set(matter, (matters.get(matter) ?? new Set()).add(key)),
          onEnd: (listener) => listeners.push(listener),
          commitsIf: (check) => {
            check.catch(() => undefined);
            checks.push(check);
          },
          claimNew: (kind) => {
            for (const claimNew of this.#claimants) {
              const claim = claimNew(tx, kind);
              if (claim !== undefined) return claim;
            }
            return undefined;
          },
          emit: async (name, subject, data) => {
            topics.add('events');
            events.push({ at: this.#clock.now(), name, subject, data: JSON.stringify(data) });
            for (const reaction of this.#reactions.get(name) ?? []) await reaction(tx, subject, data);
          },
        };
        const changed = await change(tx);
        await this.#settle(tx, matters);
        if (topics.size > 0 && signal?.tellWith !== undefined) await signal.tellWith(trx, [...topics], events);
        else await events.addWith(trx);
        await Promise.all(checks);
        return changed;
      }),
    );
    const result = await execution.catch((error: unknown) => {
      ended(false);
      throw error;
    });
    ended(true);
    for (const topic of topics) if (!isForOthers(topic)) this.#wake(topic);
    if (topics.size > 0 && signal?.tellWith === undefined) signal?.tell();
    return result;
  }

  /** Says who sees to a matter at the end of each transaction that raised it. Dispose of the result to stop. */
  onBeforeCommit(matter: Matter, settle: Settle): Disposable {
    const settlers = this.#settlers.get(matter) ?? new Set();
    this.#settlers.set(matter, settlers.add(settle));
    return { [Symbol.dispose]: () => settlers.delete(settle) };
  }

  /** Says who may claim new work as it is added, for as long as there is the store. */
  onNewWork(claimNew: ClaimNew): void {
    this.#claimants.push(claimNew);
  }

  /** Seeing to one matter may raise another, or the same again. */
  async #settle(tx: StoreTransaction, matters: Map<Matter, Set<string>>): Promise<void> {
    for (;;) {
      const matter = inTurn.find((one) => matters.has(one));
      if (matter === undefined) return;
      const keys = [...(matters.get(matter) ?? [])];
      matters.delete(matter);
      for (const settle of this.#settlers.get(matter) ?? []) await settle(tx, keys);
    }
  }

  /**
   * Runs `reaction` in each transaction that emits an event of that name. To be set up before the store
   * is used, in every process alike. What it throws undoes the transaction.
   */
  react<N extends EventName>(name: N, reaction: Reaction<N>): void {
    const reactions = this.#reactions.get(name) ?? [];
    this.#reactions.set(name, [...reactions, reaction as Reaction<EventName>]);
  }

  /**
   * Calls `listener` after each commit that woke the topic, and after those of other processes of which
   * word does not say what they woke. Word of others may be lost, so look now and then as well.
   */
  onCommit(topic: Topic, listener: () => void): Disposable {
    const listeners = this.#waiters.get(topic) ?? new Set();
    this.#waiters.set(topic, listeners.add(listener));
    return {
      [Symbol.dispose]: () => {
        listeners.delete(listener);
        if (listeners.size === 0 && this.#waiters.get(topic) === listeners) this.#waiters.delete(topic);
      },
    };
  }

  #wake(topic: Topic): void {
    for (const listener of [...(this.#waiters.get(topic) ?? [])]) listener();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= (async () => {
      this.#others?.[Symbol.dispose]();
      await this.#kysely.destroy();
      await this.#opened.close();
    })();
    await this.#closing;
  }
}
