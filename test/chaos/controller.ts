// Forked by chaos.ts: a process that does all of a lab's work until it dies, or stands still, at the step it is told.
import { join } from 'node:path';
import { createLab, fileArtifactStorage } from '@bringup/core';
import { storeOf } from '../fixtures/stores.ts';
import { patiently } from './patiently.ts';
import { connectorsAt, folderOf, type SceneSettings } from './scene.ts';
import { steppingConnectors, steppingStore } from './steps.ts';

/** What a controller is told. */
export interface Orders {
  readonly store: string;
  readonly settings: SceneSettings;
  /** The step at which it ends, or the first from there on before a call that acts, and how. Absent: it lives until it is told to end. */
  readonly end?: { readonly step: number; readonly by: 'SIGKILL' | 'SIGSTOP'; readonly acting: boolean };
}

const { store, settings, end } = JSON.parse(process.argv[2] ?? '') as Orders;
let left = end?.step ?? Number.POSITIVE_INFINITY;

function step(acts: boolean): void {
  left -= 1;
  if (end === undefined || left > 0 || (end.acting && !acts)) return;
  left = Number.POSITIVE_INFINITY;
  // A process that was stopped goes on here when it is let, and does late what it was about to do.
  process.kill(process.pid, end.by);
}

const lab = await patiently(() =>
  createLab({
    store: steppingStore(storeOf(store), step),
    artifacts: fileArtifactStorage({ path: join(folderOf(settings), 'artifacts') }),
    connectors: steppingConnectors(connectorsAt(settings), step),
  }),
);
process.on('disconnect', () => void lab[Symbol.asyncDispose]());
