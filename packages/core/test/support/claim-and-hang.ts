import { silentLogger, systemClock, systemRandom } from '@bringup/core';
import { workKinds } from '../../src/model/work.ts';
import { Store } from '../../src/store/store.ts';
import { WorkEngine } from '../../src/work/engine.ts';

// A process that claims a build, says so, and never ends it.
// The suite's own way to PostgreSQL does not reach into other processes.
const { sqlite } =
  process.env['BRINGUP_TEST_POSTGRES'] === undefined
    ? await import('../../src/store/sqlite-provider.ts')
    : await import('./postgres/sqlite-provider.ts');
const store = await Store.open(sqlite({ path: process.argv[2] ?? '' }), systemClock);
const engine = new WorkEngine({ store, clock: systemClock, random: systemRandom, logger: silentLogger });
engine.register({
  kind: 'build',
  async run(context) {
    await context.save({ reached: 'the middle' });
    process.stdout.write('claimed\n');
    return new Promise<never>(() => setInterval(() => undefined, 1_000));
  },
});
engine.start(workKinds);
