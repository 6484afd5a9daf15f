import { PostgresServer } from '../../../../../test/fixtures/postgres.ts';

/** One server for the whole run; the workers find it in their environment. */
export async function setup(): Promise<() => Promise<void>> {
  const server = await PostgresServer.start({ durable: false });
  process.env['BRINGUP_TEST_POSTGRES'] = server.url;
  return () => server[Symbol.asyncDispose]();
}
