import { parentPort, workerData } from 'node:worker_threads';
import { runShare, type Share } from './share.ts';

await runShare(workerData as Share, (result) => {
  parentPort?.postMessage(result);
  return true;
});
