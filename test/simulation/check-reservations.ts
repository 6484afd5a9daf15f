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
      checkSum(resource, held, totals.get(resource), (message) => report(`${message} (at ${at}, by ${by})`));
    } else if (what === 'reservation-') held.delete(id);
    else if (what === 'resource' && Number(row['fence']) < Number(row['fence_before'])) {
      report(`the fence of ${id} went back from ${row['fence_before']} to ${row['fence']} (at ${at}, by ${by})`);
    }
  }
  checkEvents(database.rows("select name, subject from events where name like 'reservation:%' order by seq"), report);
}

function checkSum(resource: string, held: ReadonlyMap<string, Held>, total: Totals | undefined, report: Report): void {
  if (total === undefined) return;
  const here = [...held.values()].filter((one) => one.resource === resource);
  const sum = (amount: 'slots' | 'cpu' | 'memoryMb'): number => here.reduce((all, one) => all + one[amount], 0);
  for (const amount of ['slots', 'cpu', 'memoryMb'] as const) {
    if (sum(amount) > total[amount]) {
      report(`${total.kind} ${total.name} has ${total[amount]} ${amount}, and ${sum(amount)} are held`);
    }
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
