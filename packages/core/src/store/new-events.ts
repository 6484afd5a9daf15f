import type { Insertable, Kysely } from 'kysely';
import { preparedFor, type Bind } from './prepared.ts';
import type { Schema } from './schema.ts';

type NewEvent = Required<Omit<Insertable<Schema['events']>, 'seq'>>;

type Columns = { readonly [Column in keyof NewEvent]: readonly NewEvent[Column][] };

const addEvents = preparedFor((db, p: Bind<Columns>, count: number) =>
  db
    .insertInto('events')
    .values(
      Array.from({ length: count }, (_, index) => ({
        at: p('at', index),
        name: p('name', index),
        subject: p('subject', index),
        data: p('data', index),
      })),
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

  /** Adds them in the order in which they came. */
  async addWith(db: Kysely<Schema>): Promise<void> {
    for (let first = 0; first < this.#events.length; first += atOnce) {
      const some = this.#events.slice(first, first + atOnce);
      await addEvents(some.length).send(db, {
        at: some.map(({ at }) => at),
        name: some.map(({ name }) => name),
        subject: some.map(({ subject }) => subject),
        data: some.map(({ data }) => data),
      });
    }
  }
}
