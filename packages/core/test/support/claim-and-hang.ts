import { silentLogger, systemClock, systemRandom } from '@bringup/core';
import { workKinds } from '../../src/model/work.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { WorkEngine } from '../../src/work/engine.ts';

// A process that claims a build, says so, and never ends it.
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
