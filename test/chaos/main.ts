// pnpm chaos --points N [--on vms|boards] [--outages N] [--store sqlite|postgres] [--pipelines 20] [--controllers 4] [--seed 1]
//
// Real pipelines on this machine, at the hands of processes that are killed, or stopped for longer than their leases, at
// N seeded points: before or after their n-th commit or call of a connector. PostgreSQL is crashed now and then as well.
// In the end everything has to have been done, and once. Without --store half of the points go to each. With
// --outages the VMs' machines are reached over SSH, libvirt and a network of their own, which go wrong so often meanwhile.
// With --on boards, two boards are flashed, booted by their power and tested on their console in place of VMs; what goes
// wrong then are their console servers and PDUs.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { number, oneOf, storesOf } from '../fixtures/command-line.ts';
import { PostgresServer } from '../fixtures/postgres.ts';
import { Chaos } from './chaos.ts';

const { values } = parseArgs({
  options: {
    points: { type: 'string', default: '50' },
    on: { type: 'string', default: 'vms' },
    outages: { type: 'string', default: '0' },
    store: { type: 'string' },
    pipelines: { type: 'string', default: '20' },
    controllers: { type: 'string', default: '4' },
    seed: { type: 'string', default: '1' },
  },
});
const points = number('points', values.points);
const outages = number('outages', values.outages);
const pipelines = number('pipelines', values.pipelines, 1);
const controllers = number('controllers', values.controllers, 1);
const seed = number('seed', values.seed);
const on = oneOf('on', values.on, ['vms', 'boards']);
const stores = storesOf(values.store);

for (const store of stores) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.adopt(await mkdtemp(join(tmpdir(), 'bringup-chaos-')), (path) =>
    rm(path, { recursive: true, force: true }),
  );
  const server = store === 'postgres' ? stack.use(await PostgresServer.start()) : undefined;
  const startedAt = performance.now();
  const share = Math.ceil(points / stores.length);
  const chaos = stack.use(
    await Chaos.start({
      store: server?.url ?? join(folder, 'lab.db'),
      on,
      outages: Math.ceil(outages / stores.length),
      points: share,
      pipelines,
      controllers,
      seed,
      ...(server !== undefined && { server }),
    }),
  );
  const { violations, outages: struck, ...counts } = await chaos.run();
  for (const violation of violations.slice(0, 20)) console.log(violation);
  const said = Object.entries({ ...counts, ...struck }).map(([name, count]) => `${count} ${name}`);
  console.log(
    `${store}: ${said.join(', ')} in ${((performance.now() - startedAt) / 1_000).toFixed(0)} s: ${violations.length} violations`,
  );
  if (violations.length > 0) process.exitCode = 1;
}
