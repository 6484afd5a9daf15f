// Forked by the benchmarks `wake` and `pipelines` with a store's address: queues builds each time it is told to, and says when that
// was and then that they are done; or, with a kind of work, does what others queue of that kind and says when it began.
import { silentLogger, systemClock } from '@bringup/core';
import type { WorkKind } from '../../src/model/work.ts';
import { systemRandom } from '../../src/runtime.ts';
import { postgres } from '../../src/store/postgres-provider.ts';
import { Store } from '../../src/store/store.ts';
import { WorkEngine } from '../../src/work/engine.ts';

const [, , url = '', kind] = process.argv;
const store = await Store.open(postgres({ url }), systemClock);
const work = new WorkEngine({ store, clock: systemClock, random: systemRandom, logger: silentLogger });
const sayNow = (): void => void process.send?.(String(process.hrtime.bigint()));
if (kind !== undefined) {
  work.register({
    kind: kind as WorkKind,
    run: async () => {
      sayNow();
      return { output: {} };
    },
  });
  work.start([kind as WorkKind]);
}

process.on('message', () => {
  sayNow();
  void (async () => {
    await work.finished(await work.submit('build', {}));
    process.send?.('done');
  })();
});
process.on('disconnect', () => {
  void (async () => {
    await work[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  })();
});
process.send?.('ready');
