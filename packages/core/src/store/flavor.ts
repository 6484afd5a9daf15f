import { sql, type ColumnDataType, type CreateTableBuilder, type RawBuilder } from 'kysely';

/**
 * What differs between database engines, as data. Nothing else in the SDK asks which engine it
 * runs on.
 */
export interface StoreFlavor {
  readonly name: 'sqlite' | 'postgres';
  /** Column type for bytes. */
  readonly bytes: ColumnDataType;
  /** Column type for counters and times. */
  readonly int64: ColumnDataType;
  /** Column type for fractions. */
  readonly float64: ColumnDataType;
  /** The greatest of some numbers. */
  greatest(values: readonly RawBuilder<number>[]): RawBuilder<number>;
  /** Keeps the rows of a table in its primary key, where the engine can. */
  clustered<T extends string, C extends string>(table: CreateTableBuilder<T, C>): CreateTableBuilder<T, C>;
}

/** SQLite: integers are 64 bits wide whatever they are called. */
export const sqliteFlavor: StoreFlavor = {
  name: 'sqlite',
  bytes: 'blob',
  int64: 'integer',
  float64: 'real',
  greatest: (values) => sql`max(${sql.join(values)})`,
  clustered: (table) => table.modifyEnd(sql`without rowid`),
};

/** PostgreSQL. */
export const postgresFlavor: StoreFlavor = {
  name: 'postgres',
  bytes: 'bytea',
  int64: 'bigint',
  float64: 'double precision',
  greatest: (values) => sql`greatest(${sql.join(values)})`,
  clustered: (table) => table,
};
