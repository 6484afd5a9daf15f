import type { MemoryDatabase } from '@bringup/core/testing';

/** One change of a row that the checkers want to know of, in the order of commits. */
export interface AuditEntry {
  readonly what: string;
  /** The process that did it, and which of its lives. */
  readonly by: string;
  /** The simulation's own time. */
  readonly at: number;
  readonly row: Readonly<Record<string, string | number | null>>;
}

const columns = {
  'reservation+': [
    'reservations',
    'insert',
    'new',
    ['id', 'resource_id', 'holder', 'slots', 'cpu', 'memory_mb', 'fence', 'created_at', 'expires_at'],
  ],
  'reservation-': [
    'reservations',
    'delete',
    'old',
    ['id', 'resource_id', 'holder', 'slots', 'cpu', 'memory_mb', 'fence', 'expires_at'],
  ],
  'work+': ['work_items', 'insert', 'new', ['id', 'kind', 'parent_id', 'child_key', 'priority']],
  'waiting+': ['waiting', 'insert', 'new', ['id', 'shape', 'rank', 'seq', 'waiter', 'deadline_at']],
  'waiting-': ['waiting', 'delete', 'old', ['id', 'shape', 'rank', 'seq', 'waiter', 'state']],
} as const;

/**
 * Lets the database itself write down every change of reservations, work, fences, logs and the waiting list:
 * what commits is there, what is rolled back is not, whatever the SDK says about it.
 */
export function auditDatabase(database: MemoryDatabase, who: () => string, now: () => number): void {
  const { raw } = database;
  raw.function('sim_process', () => who());
  raw.function('sim_now', () => now());
  raw.exec('create table sim_audit (seq integer primary key autoincrement, what text, by text, at integer, row text)');
  const note = (what: string, row: string): string =>
    `insert into sim_audit (what, by, at, row) values ('${what}', sim_process(), sim_now(), json_object(${row}));`;
  const object = (side: string, names: readonly string[]): string =>
    names.map((name) => `'${name}', ${side}.${name}`).join(', ');
  for (const [what, [table, verb, side, names]] of Object.entries(columns)) {
    const name = what.replace('+', '_added').replace('-', '_removed');
    raw.exec(`create trigger sim_${name} after ${verb} on ${table} begin ${note(what, object(side, names))} end`);
  }
  const work = (before: Readonly<Record<'state' | 'fence' | 'owner' | 'lease_until' | 'takeovers', string>>): string =>
    note(
      'work',
      `'id', new.id, 'kind', new.kind, 'from', ${before.state}, 'to', new.state, 'fence_before', ${before.fence}, 'fence', new.fence, 'owner_before', ${before.owner}, 'owner', new.owner, 'lease_before', ${before.lease_until}, 'takeovers_before', ${before.takeovers}, 'takeovers', new.takeovers`,
    );
  raw.exec(`create trigger sim_work_changed after update of state, fence on work_items
    when old.state <> new.state or old.fence <> new.fence
    begin ${work({ state: 'old.state', fence: 'old.fence', owner: 'old.owner', lease_until: 'old.lease_until', takeovers: 'old.takeovers' })} end`);
  // What is claimed as it is added counts as queued before.
  raw.exec(`create trigger sim_work_begun after insert on work_items when new.owner is not null
    begin ${work({ state: "'queued'", fence: '0', owner: 'null', lease_until: 'null', takeovers: '0' })} end`);
  raw.exec(`create trigger sim_fence after update of fence, slots_used on resources
    begin ${note('resource', `'id', new.id, 'fence_before', old.fence, 'fence', new.fence, 'slots_used', new.slots_used, 'slots_total', new.slots_total, 'cpu_used', new.cpu_used, 'cpu_total', new.cpu_total, 'memory_used', new.memory_mb_used, 'memory_total', new.memory_mb_total`)} end`);
  raw.exec(`create trigger sim_log after update of size_bytes on logs when old.size_bytes <> new.size_bytes
    begin ${note('log', "'id', new.id, 'before', old.size_bytes, 'size', new.size_bytes")} end`);
  raw.exec(`create trigger sim_waiting after update of state on waiting when old.state <> new.state
    begin ${note('waiting', `'id', new.id, 'shape', new.shape, 'rank', new.rank, 'seq', new.seq, 'from', old.state, 'to', new.state`)} end`);
}

/** What was written down. */
export function readAudit(database: MemoryDatabase): AuditEntry[] {
  return database.raw
    .prepare('select what, by, at, row from sim_audit order by seq')
    .all()
    .map(({ what, by, at, row }) => ({
      what: String(what),
      by: String(by),
      at: Number(at),
      row: JSON.parse(String(row), (key, value: unknown) =>
        // An owner begins with what tells real processes apart, which all of these are not.
        key.startsWith('owner') && typeof value === 'string' ? value.split('|').at(-1) : value,
      ) as AuditEntry['row'],
    }));
}
