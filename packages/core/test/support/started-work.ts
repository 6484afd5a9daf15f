// Forked by the benchmark `wake` with a store's address: queues work each time it is told to, and says when that was and then that
// it is done; or, with `run`, does what others queue and says when it began.
import { silentLogger, systemClock } from '@bringup/core';
import { systemRandom } from '../../src/runtime.ts';
import { postgres } from '../../src/store/postgres-provider.ts';
import { Store } from '../../src/store/store.ts';
import { WorkEngine } from '../../src/work/engine.ts';

const [, , url = '', role] = process.argv;
const store = await Store.open(postgres({ url }), systemClock);
const work = new WorkEngine({ store, clock: systemClock, random: systemRandom, logger: silentLogger });
const sayNow = (): void => void process.send?.(String(process.hrtime.bigint()));
work.register({
  kind: 'build',
  run: async () => {
    sayNow();
    return { output: {} };
  },
});
if (role === 'run') work.start(['build']);

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
