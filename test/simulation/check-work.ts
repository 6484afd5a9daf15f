import type { AuditEntry } from './audit.ts';
import type { Outcome, Report } from './outcome.ts';

const finals = ['succeeded', 'failed', 'cancelled'];

/** How far a lease may have run by the clocks of the processes: the fastest is so much ahead. */
function aheadMs(plan: Outcome['plan']): number {
  return plan.faults.reduce((most, fault) => (fault.kind === 'clock-jump' ? most + Math.abs(fault.byMs) : most), 0);
}

/**
 * One committed completion per attempt, no stage done twice, fences that only grow, and every write that
 * ends a run done by the process whose claim it was, unless the lease had run out.
 */
export function checkWork({ audit, plan, database, unhandled }: Outcome, report: Report): void {
  const owners = new Map<string, string>();
  const stages = new Set<string>();
  const ended = new Set<string>();
  for (const entry of audit) {
    const { what, at, by, row } = entry;
    if (what === 'work+' && row['parent_id'] !== null) {
      const stage = `${row['parent_id']}/${row['child_key']}`;
      if (stages.has(stage)) report(`stage ${stage} was started twice (at ${at}, by ${by})`);
      stages.add(stage);
    }
    if (what !== 'work') continue;
    const where = `${row['kind']} ${row['id']} (at ${at}, by ${by})`;
    checkFence(row, where, report);
    if (finals.includes(String(row['from']))) report(`after its end as ${row['from']}, ${row['to']}: ${where}`);
    if (finals.includes(String(row['to']))) {
      if (ended.has(String(row['id']))) report(`ended twice: ${where}`);
      ended.add(String(row['id']));
    }
    if (row['to'] === 'running' && typeof row['owner'] === 'string') owners.set(row['owner'], by);
    if (row['from'] === 'running') checkOwner(entry, owners, aheadMs(plan), where, report);
  }
  checkEnds(
    database.rows(
      "select name, subject from events where name like '%:succeeded' or name like '%:failed' or name like '%:cancelled'",
    ),
    report,
  );
  for (const error of unhandled) report(`an error that nobody waited for: ${error}`);
}

function checkFence(row: AuditEntry['row'], where: string, report: Report): void {
  const grown = Number(row['fence']) - Number(row['fence_before']);
  const claimed = row['from'] === 'queued' && row['to'] === 'running';
  if (claimed ? grown !== 1 : grown !== 0)
    report(`the fence went from ${row['fence_before']} to ${row['fence']}: ${where}`);
}

/** A running item is left by its owner, or taken away once its lease has run out. */
function checkOwner(
  { by, row, at }: AuditEntry,
  owners: ReadonlyMap<string, string>,
  fastMs: number,
  where: string,
  report: Report,
): void {
  const owner = owners.get(String(row['owner_before']));
  const taken = Number(row['takeovers']) > Number(row['takeovers_before']);
  if (!taken) {
    if (owner !== by) report(`${row['to']} by a process that does not own it (${owner} does): ${where}`);
    return;
  }
  const leaseUntil = Number(row['lease_before']) - startMs;
  if (at + fastMs < leaseUntil) report(`taken away ${leaseUntil - at} ms before its lease ran out: ${where}`);
}

const startMs = Date.UTC(2026, 0, 1);

function checkEnds(events: readonly Record<string, unknown>[], report: Report): void {
  const told = new Map<string, string>();
  for (const { name, subject } of events) {
    const before = told.get(String(subject));
    if (before !== undefined) report(`the events end ${String(subject)} as ${before} and as ${String(name)}`);
    told.set(String(subject), String(name));
  }
}
