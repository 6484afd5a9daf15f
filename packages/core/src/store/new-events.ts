import type { Insertable, Kysely, QueryCreator } from 'kysely';
import { prepared, preparedFor, type Bind } from './prepared.ts';
import type { Schema } from './schema.ts';

type NewEvent = Required<Omit<Insertable<Schema['events']>, 'seq'>>;

type Columns = { readonly [Column in keyof NewEvent]: readonly NewEvent[Column][] };

/** What PostgreSQL is to carry to other processes with a commit. */
export interface CommitWord {
  readonly channel: string;
  readonly word: string;
}

const insertion = (db: QueryCreator<Schema>, p: Bind<Columns>, count: number) =>
  db
    .insertInto('events')
    .values(
      Array.from({ length: count }, (_, index) => ({
        at: p('at', index),
        name: p('name', index),
        subject: p('subject', index),
        data: p('data', index),
      })),
    );

const notification = (db: QueryCreator<Schema>, p: Bind<CommitWord>) =>
  db.selectNoFrom((eb) => eb.fn('pg_notify', [eb.val(p('channel')), eb.val(p('word'))]).as('told'));

const addEvents = preparedFor(insertion);
const notify = prepared(notification);
const addAndNotify = preparedFor((db, p: Bind<Columns & CommitWord>, count: number) =>
  notification(
    db.with('added', (inner) => insertion(inner, p as Bind<Columns>, count)),
    p as Bind<CommitWord>,
  ),
);

/** At most so many with one statement: each number of them is a statement of its own, which is kept. */
const atOnce = 12;

/** Events of a transaction, added together at its end: each statement has its price, and nobody reads them before. */
export class NewEvents {
  readonly #events: NewEvent[] = [];

  push(event: NewEvent): void {
    this.#events.push(event);
  }

  /** Adds them in the order in which they came, and has the engine carry word of the commit, where it does. */
  async addWith(db: Kysely<Schema>, word?: CommitWord): Promise<void> {
    const count = this.#events.length;
    for (let first = 0; first < count; first += atOnce) {
      const some = this.#events.slice(first, first + atOnce);
      const columns = {
        at: some.map(({ at }) => at),
        name: some.map(({ name }) => name),
        subject: some.map(({ subject }) => subject),
        data: some.map(({ data }) => data),
      };
      if (word !== undefined && first + atOnce >= count)
        await addAndNotify(some.length).send(db, { ...columns, ...word });
      else await addEvents(some.length).send(db, columns);
    }
    if (word !== undefined && count === 0) await notify.send(db, word);
  }
}
