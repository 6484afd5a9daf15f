import type { Client, ClientConfig, QueryResult as Answer, types as PgTypes } from 'pg';
import type { QueryResult } from 'kysely';
import { limits } from '../limits.ts';
import { counted } from './in-flight.ts';

/** The parts of the package `pg` that are used here. */
export interface Pg {
  readonly Client: new (config: ClientConfig) => Client;
  readonly types: typeof PgTypes;
}

/** What a connection is made with. */
export interface PostgresSettings {
  readonly pg: Pg;
  readonly config: ClientConfig;
  /** Names the database in errors: never with a password. */
  readonly where: string;
}

/** https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat */
const oid = { bool: 16, int8: 20, numeric: 1700 } as const;

/**
 * Values as SQLite gives them: counters and times are numbers (all of ours are below 2^53), truth values 1 and 0.
 */
function parserOf(types: typeof PgTypes): (type: number, format?: 'text' | 'binary') => (text: string) => unknown {
  return (type, format) => {
    if (type === oid.int8 || type === oid.numeric) return Number;
    if (type === oid.bool) return (text) => (text === 't' ? 1 : 0);
    return types.getTypeParser(type, format) as (text: string) => unknown;
  };
}

/** Columns hold truth values as 1 and 0. */
function toPostgres(value: unknown): unknown {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return value;
}

/**
 * One connection to PostgreSQL. Statements go out as they come, without waiting for the answers to earlier ones.
 * Those that are used again stay prepared there, the first `limits.postgresStatements` of them.
 */
export class PostgresConnection {
  readonly #client: Client;
  readonly #uses = new Map<string, number>();
  #named = 0;
  #lost = false;
  #closing: Promise<void> | undefined;
  /** Statements without an answer yet. */
  underWay = 0;

  private constructor(client: Client) {
    this.#client = client;
    // Without a listener the end of a connection would end the process.
    client.on('error', () => (this.#lost = true));
    client.on('end', () => (this.#lost = true));
  }

  /** @throws the error of the driver. */
  static async open({ pg, config }: PostgresSettings): Promise<PostgresConnection> {
    const client = new pg.Client({
      ...config,
      connectionTimeoutMillis: limits.postgresConnectTimeoutMs,
      keepAlive: true,
      // A network that swallows everything tells nobody: a server that is there answers sooner, locks included.
      query_timeout: limits.postgresAnswerMs,
      types: { getTypeParser: parserOf(pg.types) as typeof PgTypes.getTypeParser },
      ...{ pipeline: true },
    });
    // A URL without a password counts for pg as one with an empty password, and more than the password beside it.
    if (config.password !== undefined) Object.assign(client, { password: config.password });
    const connection = new PostgresConnection(client);
    try {
      await counted(client.connect());
    } catch (error) {
      connection.#lost = true;
      void client.end().catch(() => undefined);
      throw error;
    }
    return connection;
  }

  get lost(): boolean {
    return this.#lost;
  }

  /** Runs one statement. @throws the error of the driver. */
  async query<R>(text: string, values: readonly unknown[]): Promise<QueryResult<R>> {
    const name = this.#nameOf(text);
    const answer = await this.#asked(
      this.#client.query({ text, values: values.map(toPostgres), ...(name !== undefined && { name }) }),
    );
    return {
      rows: answer.rows as R[],
      ...(answer.rowCount !== null && answer.command !== 'SELECT' && { numAffectedRows: BigInt(answer.rowCount) }),
    };
  }

  /** Runs statements without values, several at once; gives what the last one said. @throws the error of the driver. */
  async run(text: string): Promise<{ readonly command: string; readonly row: Readonly<Record<string, unknown>> }> {
    const answers = (await this.#asked(this.#client.query(text))) as Answer | Answer[];
    const last = Array.isArray(answers) ? answers.at(-1) : answers;
    return { command: last?.command ?? '', row: (last?.rows[0] ?? {}) as Record<string, unknown> };
  }

  /** Calls `heard` with the text of each notification on a channel it listens to. */
  onNotification(heard: (payload: string) => void): void {
    this.#client.on('notification', ({ payload }) => heard(payload ?? ''));
  }

  /** Calls `ended` once the connection is gone. */
  onEnd(ended: () => void): void {
    this.#client.once('end', ended);
  }

  /** Hangs up, once, however many of those whose statements fail ask for it; what is under way fails. */
  async close(): Promise<void> {
    this.#lost = true;
    this.#closing ??= this.#client.end().catch(() => undefined);
    await this.#closing;
  }

  async #asked<T>(answer: Promise<T>): Promise<T> {
    this.underWay += 1;
    try {
      return await counted(answer);
    } finally {
      this.underWay -= 1;
    }
  }

  /** Preparing pays from the second use on; statements that are made up each time would only fill the server. */
  #nameOf(text: string): string | undefined {
    const uses = this.#uses.get(text);
    if (uses === undefined) {
      if (this.#uses.size >= limits.postgresStatements) return undefined;
      this.#uses.set(text, -1);
      return undefined;
    }
    if (uses >= 0) return `bringup_${uses}`;
    const number = (this.#named += 1);
    this.#uses.set(text, number);
    return `bringup_${number}`;
  }
}
