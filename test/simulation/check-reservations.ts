import type { AuditEntry } from './audit.ts';
import type { Outcome, Report } from './outcome.ts';

interface Held {
  readonly resource: string;
  readonly slots: number;
  readonly cpu: number;
  readonly memoryMb: number;
  readonly expiresAt: number;
}

interface Totals {
  readonly kind: string;
  readonly name: string;
  readonly slots: number;
  readonly cpu: number;
  readonly memoryMb: number;
}

const amounts = [
  ['slots', 'slots_used'],
  ['cpu', 'cpu_used'],
  ['memoryMb', 'memory_used'],
] as const;

/**
 * Mutual exclusion: at no moment more is held of a resource than it has, the fences of a resource only grow,
 * and the events tell the same story as the rows.
 */
export function checkReservations({ audit, database }: Outcome, report: Report): void {
  const totals = new Map<string, Totals>(
    database
      .rows('select id, kind, name, slots_total, cpu_total, memory_mb_total from resources')
      .map((row) => [
        String(row['id']),
        {
          kind: String(row['kind']),
          name: String(row['name']),
          slots: Number(row['slots_total']),
          cpu: Number(row['cpu_total']),
          memoryMb: Number(row['memory_mb_total']),
        },
      ]),
  );
  const held = new Map<string, Held>();
  const fences = new Map<string, number>();
  const counted = new Map<string, AuditEntry['row']>();
  for (const { what, at, by, row } of audit) {
    const id = String(row['id']);
    if (what === 'reservation+') {
      const resource = String(row['resource_id']);
      const fence = Number(row['fence']);
      if (held.has(id)) report(`reservation ${id} was granted twice (at ${at})`);
      if (fence <= (fences.get(resource) ?? 0)) {
        report(`${resource} granted ${id} with fence ${fence} after ${fences.get(resource)} (at ${at}, by ${by})`);
      }
      fences.set(resource, fence);
      held.set(id, {
        resource,
        slots: Number(row['slots']),
        cpu: Number(row['cpu']),
        memoryMb: Number(row['memory_mb']),
        expiresAt: Number(row['expires_at']),
      });
      const here = { totals: totals.get(resource), counted: counted.get(resource) };
      checkSum(resource, held, here, (message) => report(`${message} (at ${at}, by ${by})`));
    } else if (what === 'reservation-') held.delete(id);
    else if (what === 'resource') {
      counted.set(id, row);
      if (Number(row['fence']) < Number(row['fence_before']))
        report(`the fence of ${id} went back from ${row['fence_before']} to ${row['fence']} (at ${at}, by ${by})`);
    }
  }
  checkEvents(database.rows("select name, subject from events where name like 'reservation:%' order by seq"), report);
}

/** No more is held than there is, and what the resource counts as used is what is held. */
function checkSum(
  resource: string,
  held: ReadonlyMap<string, Held>,
  { totals, counted }: { readonly totals: Totals | undefined; readonly counted: AuditEntry['row'] | undefined },
  report: Report,
): void {
  if (totals === undefined) return;
  const here = [...held.values()].filter((one) => one.resource === resource);
  for (const [amount, column] of amounts) {
    const sum = here.reduce((all, one) => all + one[amount], 0);
    const used = Number(counted?.[column]);
    if (sum > totals[amount]) {
      report(`${totals.kind} ${totals.name} has ${totals[amount]} ${amount}, and ${sum} are held`);
    }
    if (sum !== used) report(`${totals.kind} ${totals.name} counts ${used} ${amount} as used, and ${sum} are held`);
  }
}

function checkEvents(events: readonly Record<string, unknown>[], report: Report): void {
  const open = new Set<string>();
  for (const { name, subject } of events) {
    const id = String(subject);
    if (name === 'reservation:granted') {
      if (open.has(id)) report(`the events grant ${id} twice`);
      open.add(id);
    } else if (name === 'reservation:released' || name === 'reservation:expired') {
      if (!open.delete(id)) report(`the events end ${id}, which was not held`);
    }
  }
  for (const id of open) report(`the events never end reservation ${id}`);
}
