import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { RunEnd } from './endings.ts';
import type { Selectable } from 'kysely';
import type { WorkRow } from '../store/schema/work.ts';
import type { Run } from './run.ts';

/** What a run is watched with. */
export interface RunWatch {
  readonly telemetry: Telemetry;
  readonly clock: Clock;
}

/** Executes a run as a part of its item's trace, and tells how it went. */
export async function watchedRun(
  run: Run<unknown>,
  { telemetry, clock }: RunWatch,
  execute: () => Promise<RunEnd>,
): Promise<void> {
  const at = clock.now();
  const kind = { 'bringup.work.kind': run.kind };
  // An item that is claimed again has been queued for a while of which nothing is known.
  const queued = run.fence === 1 ? Math.max(0, at - run.createdAt) / 1000 : undefined;
  if (queued !== undefined) telemetry.record('workQueueDuration', queued, kind);
  const span = telemetry.begin({
    name: `run ${run.kind}`,
    role: 'consumer',
    at,
    parent: run.origin,
    attributes: {
      ...kind,
      'bringup.work.id': run.id,
      'bringup.work.attempt': run.takeovers + 1,
      'bringup.work.run': run.fence,
      ...(queued !== undefined && { 'bringup.work.queue.duration': queued }),
    },
  });
  run.traceparent = span.traceparent;
  const { outcome, error } = await span.within(execute);
  const now = clock.now();
  const how = { ...kind, 'bringup.work.outcome': outcome };
  telemetry.add('workRuns', 1, how);
  if (outcome === 'succeeded' || outcome === 'failed' || outcome === 'cancelled') {
    tellOfEnd(telemetry, { kind: run.kind, tookMs: now - run.startedAt }, { outcome, error });
  }
  // Being cancelled is no fault of the work.
  const fault = outcome === 'cancelled' ? undefined : error?.code;
  span.end(now, { 'bringup.work.outcome': outcome }, fault);
}

/** Tells of a flow that ends with a transaction. Nobody runs it: its span is as long as it took from its start. */
export function tellOfFlow(
  tx: StoreTransaction,
  row: Selectable<WorkRow>,
  { outcome, error }: RunEnd,
  { telemetry, clock }: RunWatch,
): void {
  tx.onEnd((committed) => {
    if (!committed) return;
    const { id, kind, traceparent: parent } = row;
    const at = row.started_at ?? row.created_at;
    const attributes = { 'bringup.work.kind': kind, 'bringup.work.id': id };
    const span = telemetry.begin({ name: `run ${kind}`, role: 'consumer', at, parent, attributes });
    const now = clock.now();
    tellOfEnd(telemetry, { kind, tookMs: now - at }, { outcome, error });
    span.end(now, { 'bringup.work.outcome': outcome }, outcome === 'cancelled' ? undefined : error?.code);
  });
}

function tellOfEnd(
  telemetry: Telemetry,
  { kind, tookMs }: { readonly kind: string; readonly tookMs: number },
  { outcome, error }: { readonly outcome: string; readonly error: BringupError | undefined },
): void {
  const how = { 'bringup.work.kind': kind, 'bringup.work.outcome': outcome };
  telemetry.add('workEnded', 1, { ...how, ...(error !== undefined && { 'error.type': error.code }) });
  telemetry.record('workDuration', Math.max(0, tookMs) / 1000, how);
}

/** The end of a run that could not be stored: its lease runs out, and the item is taken up again. */
export function unstored(): RunEnd {
  return { outcome: 'lost', error: new BringupError('store-failed', 'the end of a work item could not be stored') };
}
