import type { ConnectionOptions } from 'node:tls';
import { BringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { hideSecretsIn, type Secret } from '../model/secret.ts';
import type { Pg } from './postgres-connection.ts';
import type { StoreProvider } from './provider.ts';

/** Where a PostgreSQL database is. */
export interface PostgresOptions {
  /**
   * Such as `postgres://lab@db.example.org/lab`, without a password. What it does not say is taken from libpq's
   * environment variables (`PGHOST`, `PGUSER` and the like).
   */
  readonly url?: string;
  /** Default: `PGPASSWORD`, or the user's `.pgpass`. */
  readonly password?: Secret;
  /**
   * TLS: `true` verifies the server's certificate against the system's authorities; options as Node's `tls.connect`
   * takes them say otherwise, such as `{ ca }`. Default: what the URL's `sslmode` says; without one, none.
   */
  readonly tls?: boolean | ConnectionOptions;
  /**
   * The lab's schema: one database may hold any number of labs. Letters, digits and `_`, the first no digit, in lower
   * case. It is made where it is missing. Default `bringup`.
   */
  readonly schema?: string;
}

const oldestServer = 13;

/**
 * Every query has its index, and most of what the tables of queued work hold at any time are rows that have been changed since. A
 * plan that was made while a table was small or just analyzed would read all of it, and stays for as long as its connection
 * does; and only a plain scan of an index marks entries of dead rows, so that the next one passes over them.
 */
const indexesOnly = '-c enable_seqscan=off -c enable_bitmapscan=off';

/**
 * Keeps the lab's records in PostgreSQL (13 or later), for any number of processes on any number of machines. Needs the
 * package `pg`. Processes hear of each other's commits by LISTEN and NOTIFY, so connect to the server itself or through
 * a pooler in session mode. A lost connection is made anew, and a server that restarts is waited for
 * (`limits.postgresPatienceMs`).
 *
 * @throws TypeError for a schema's name that is none, or a password in the URL.
 */
export function postgres(options: PostgresOptions = {}): StoreProvider {
  const { url, password, tls, schema = 'bringup' } = options;
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema) || schema.startsWith('pg_')) {
    throw new TypeError(`schema: ${JSON.stringify(schema)} is not letters, digits and _ in lower case, up to 63`);
  }
  const where = describe(url);
  return {
    async open() {
      const pg = await loadPg();
      const { PostgresLinks } = await import('./postgres-links.ts');
      const { postgresDialect } = await import('./postgres-dialect.ts');
      const { PostgresSignal } = await import('./postgres-signal.ts');
      const { postgresFlavor } = await import('./flavor.ts');
      const links = new PostgresLinks({
        pg,
        where,
        config: {
          ...(url !== undefined && { connectionString: url }),
          ...(password !== undefined && { password: () => password.reveal() }),
          ...(tls !== undefined && { ssl: tls }),
          application_name: 'bringup',
          options: `-c search_path=${schema} ${indexesOnly}`,
          lock_timeout: limits.postgresPatienceMs,
          idle_in_transaction_session_timeout: limits.postgresIdleMs,
        },
      });
      const lock = `hashtextextended('bringup ${schema}', 0)`;
      try {
        await prepareSchema(links, schema, lock);
      } catch (error) {
        await links.close();
        // The server has heard the password, and its words are in the error.
        throw hideSecretsIn(toBringupError(error, 'store-failed'), password);
      }
      const signal = new PostgresSignal(links, `bringup ${schema}`);
      return {
        dialect: postgresDialect(links, lock),
        flavor: postgresFlavor,
        schema,
        signal,
        close: async () => {
          await signal[Symbol.asyncDispose]();
          await links.close();
        },
      };
    },
  };
}

async function prepareSchema(
  links: import('./postgres-links.ts').PostgresLinks,
  schema: string,
  lock: string,
): Promise<void> {
  // A server that does not answer at the very start is more likely the wrong one than one that restarts.
  const connection = await links.connect(() => false);
  const { where } = links.settings;
  try {
    const { row } = await connection.run(
      `select current_setting('server_version_num')::int / 10000 as version, current_setting('server_encoding') as encoding,
        exists (select from pg_namespace where nspname = '${schema}') as there`,
    );
    if (Number(row['version']) < oldestServer || row['encoding'] !== 'UTF8') {
      throw new BringupError(
        'store-failed',
        `the database ${where} is PostgreSQL ${String(row['version'])} in ${String(row['encoding'])}; it must be ${oldestServer} or later, in UTF8`,
        { details: { database: where, reason: 'unsupported' } },
      );
    }
    if (row['there'] === 1) return;
    await connection.run(
      `begin; select pg_advisory_xact_lock(${lock}); create schema if not exists "${schema}"; commit`,
    );
  } catch (error) {
    const { postgresFailure } = await import('./postgres-errors.ts');
    throw postgresFailure(error, where);
  } finally {
    await connection.close();
  }
}

async function loadPg(): Promise<Pg> {
  try {
    const { default: pg } = await import('pg');
    return pg as unknown as Pg;
  } catch (error) {
    throw new BringupError('dependency-missing', 'PostgreSQL needs the package pg: npm install pg', {
      cause: error,
      details: { package: 'pg' },
    });
  }
}

/** Names the database in errors. @throws TypeError for a password, which would end up in logs. */
function describe(url: string | undefined): string {
  if (url === undefined) return 'of the environment (PGHOST, PGDATABASE)';
  if (!URL.canParse(url) || !/^postgres(?:ql)?:$/.test(new URL(url).protocol)) {
    throw new TypeError('url: not of the form postgres://user@host:port/database');
  }
  const { password, host, pathname, searchParams } = new URL(url);
  if (password !== '' || searchParams.has('password')) {
    throw new TypeError('url: holds a password; give it as `password: new Secret(…)`, so that it is never printed');
  }
  return `postgres://${host || (searchParams.get('host') ?? '')}${pathname}`;
}
