import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Logger } from '@bringup/core';
import { canariesIn, canarySeed, leaks } from '../fixtures/canaries.ts';
import { openCanaryLab } from './canary-lab.ts';

let folder: string;
let port: number;
let server: ReturnType<typeof createServer>;

/** Answers everything with what it was asked, as an error: whatever it is told it tries to get into a log. */
const repeat = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const asked = `${request.url} ${JSON.stringify(request.headers)} ${await text(request)}`;
  const isLogin = request.url?.startsWith('/netio') === true && request.headers.authorization === undefined;
  // No use to try again: it is kept as failed, with why.
  const isHook = request.url?.startsWith('/hooks') === true;
  response
    .writeHead(isLogin ? 401 : isHook ? 400 : 500, {
      'www-authenticate': 'Basic realm="x"',
      'x-said': encodeURI(asked),
    })
    .end(asked);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bringup-canaries-'));
  server = createServer((request, response) => void repeat(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

test('a lab in which everything fails keeps and tells no credential, not in the bytes of its database either', async () => {
  const logged: unknown[] = [];
  const log = (details: object, message: string): void => void logged.push(message, details);
  const logger: Logger = { debug: log, info: log, warn: log, error: log };
  const path = join(folder, 'lab.db');
  const { lab, registrations, line } = await openCanaryLab({ path, port, folder, logger });
  const outcomes: unknown[] = [];
  for (const register of registrations(lab)) outcomes.push(await register().catch((error: unknown) => error));
  expect(outcomes.map((outcome) => outcome instanceof Error)).toEqual([true, true, true, true]);
  expect(line.said.toString()).toContain('Password:');

  // A build that is stored nowhere, for its storage has only errors.
  await lab.buildServers.registerServer({ hostname: 'localhost', workspace: join(folder, 'work'), shell: 'local' });
  const { id } = await lab.pipelines.createPipeline({
    sourceRepository: join(folder, 'nothing'),
    targetArchitecture: 'x86_64',
    buildConfig: { recipe: 'script', script: 'exit 0', outputs: [{ type: 'other', path: 'x' }] },
    buildRequirements: { minMemoryMb: 1, minStorageGb: 1 },
    environmentType: 'qemu',
    tests: { from: 'console' },
  });
  const pipeline = await lab.pipelines.waitForPipeline(id);
  expect(pipeline.status).toBe('failed');
  const put = await lab.artifacts.put('x', bytes).catch((error: unknown) => error);
  expect(put).toBeInstanceOf(Error);

  // Each alert was tried to be told, and what became of it is kept.
  const alerts = await lab.alerts.list();
  expect(alerts.length).toBeGreaterThan(1);
  await expect
    .poll(async () => (await Promise.all(alerts.map((alert) => lab.alerts.getDeliveries(alert.id)))).flat(), {
      timeout: 30_000,
    })
    .toContainEqual(expect.objectContaining({ notifier: 'webhook', state: 'failed' }));
  const deliveries = (await Promise.all(alerts.map((alert) => lab.alerts.getDeliveries(alert.id)))).flat();
  const buildLog = Buffer.concat(await Array.fromAsync(lab.pipelines.getStageLogs(id, 'build'))).toString();
  const events = await Array.fromAsync(lab.events.read());
  expect(events.length).toBeGreaterThan(5);
  const told = { outcomes, pipeline, put, alerts, deliveries, buildLog, events, logged, lab };

  // While it is open, the newest of it is in the write-ahead log alone.
  const files = async (when: string): Promise<Record<string, Buffer>> =>
    Object.fromEntries(
      await Promise.all(
        (await readdir(folder, { withFileTypes: true }))
          .filter((entry) => entry.isFile())
          .map(async ({ name }) => [`${name} ${when}`, await readFile(join(folder, name))] as const),
      ),
    );
  const open = await files('while it is open');
  expect(Object.keys(open)).toContain('lab.db-wal while it is open');
  const rows = rowsOf(path);
  expect(rows).toContain('alert:raised');
  await lab[Symbol.asyncDispose]();
  expect(leaks({ ...told, rows, ...open, ...(await files('at last')) })).toEqual([]);
});

test.each(['uncaught', 'printed'])('a process that crashes with an error that is %s shows none', async (how) => {
  const program = fileURLToPath(new URL('crash-with-canaries.ts', import.meta.url));
  const nodeOptions = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning'];
  const child = spawn(process.execPath, [...nodeOptions, program, how, String(port), folder], {
    env: { ...process.env, CANARY_SEED: canarySeed },
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  expect(stderr).toContain('BringupError');
  expect(code === 0).toBe(how === 'printed');
  // All of them were made for the lab before.
  expect(canariesIn(stdout + stderr)).toEqual([]);
});

async function* bytes(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('x');
}

/** All that the database holds, column by column. */
function rowsOf(path: string): string {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const tables = database.prepare(`select name from sqlite_master where type = 'table'`).all();
    return tables
      .flatMap(({ name }) => database.prepare(`select * from "${String(name)}"`).all())
      .flatMap((row) => Object.values(row))
      .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)))
      .join('\n');
  } finally {
    database.close();
  }
}
