import { toAlert } from '../alerts/raise.ts';
import { notFound, type StoredError } from '../errors.ts';
import type { LabEvent } from '../events.ts';
import { limits } from '../limits.ts';
import type { Alert } from '../model/alert.ts';
import type { Board, Connection, ResourceKind } from '../model/resource.ts';
import type { WorkKind } from '../model/work.ts';
import { aboutResources } from '../store/conditions.ts';
import type { Store } from '../store/store.ts';
import type { LogStore } from '../work/logs.ts';
import { blockedBy } from './kind.ts';

/** How a person gets to a resource. */
export interface ResourceAccess {
  readonly ssh?: {
    readonly hostname: string;
    readonly address: string;
    readonly port: number;
    /** Absent: the account this process runs under. */
    readonly username?: string;
    readonly keyPath?: string;
    /** The command line that logs in there. */
    readonly command: string;
  };
  readonly serial?: { readonly device: string; readonly baudRate: number; readonly console: string };
}

/** Work that failed there. */
export interface FailedWork {
  readonly id: string;
  readonly kind: WorkKind;
  readonly failedAt: number;
  readonly error: StoredError;
  /** What it printed last. */
  readonly logTail: readonly string[];
}

/** All that helps to find out what is wrong with a resource. */
export interface Diagnosis {
  readonly id: string;
  readonly kind: ResourceKind;
  readonly name: string;
  /** As stored: online, degraded, offline, flashing, recovery or unknown. */
  readonly status: string;
  readonly statusReason?: string;
  readonly statusSince: number;
  readonly maintenanceMode: boolean;
  readonly blockedBy: readonly string[];
  readonly lastHealthCheck?: number;
  readonly access: ResourceAccess;
  /** What holds it, and since when. */
  readonly heldBy: readonly { readonly holder: string; readonly since: number; readonly expiresAt: number }[];
  /** Alerts about it that are not over, newest first. */
  readonly alerts: readonly Alert[];
  /** The last things that happened to it, oldest first. */
  readonly events: readonly LabEvent[];
  /** Newest first. */
  readonly failures: readonly FailedWork[];
}

/** What was done on resources, and where its log is. */
export interface WorkOnResources {
  /** Ids of work on the resource that failed, newest first, with the ids of their logs. */
  failedOn(resourceId: string, limit: number): Promise<readonly { readonly id: string; readonly logId: string }[]>;
}

/** Gathers what is known of a resource. @throws `not-found`. */
export async function diagnose(
  { store, logs, work }: { readonly store: Store; readonly logs: LogStore; readonly work: WorkOnResources },
  id: string,
): Promise<Diagnosis> {
  const { db } = store;
  const row = await db.selectFrom('resources').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw notFound('resource', id);
  const held = await db.selectFrom('reservations').selectAll().where('resource_id', '=', id).orderBy('fence').execute();
  const alerts = await db
    .selectFrom('alerts')
    .selectAll()
    .where('subject', '=', id)
    .where('resolved_at', 'is', null)
    .orderBy('id', 'desc')
    .execute();
  return {
    id,
    kind: row.kind as ResourceKind,
    name: row.name,
    status: row.status,
    ...(row.status_reason !== null && { statusReason: row.status_reason }),
    statusSince: row.status_since,
    maintenanceMode: row.maintenance === 1,
    blockedBy: blockedBy(row),
    ...(row.last_health_check !== null && { lastHealthCheck: row.last_health_check }),
    access: accessOf(JSON.parse(row.profile) as Partial<Board>),
    heldBy: held.map(({ holder, created_at, expires_at }) => ({ holder, since: created_at, expiresAt: expires_at })),
    alerts: alerts.map(toAlert),
    events: await recentEvents(store, id),
    failures: await failures(store, logs, await work.failedOn(id, limits.diagnosisEntries)),
  };
}

/** How a person gets to a resource, from what it was registered with. */
export function accessOf(
  profile: Partial<Connection> & Pick<Partial<Board>, 'serialDevice' | 'serialBaudRate' | 'console'>,
): ResourceAccess {
  const { hostname, ipAddress, sshPort: port = 22, sshUsername: username, sshKeyPath: keyPath } = profile;
  const { serialDevice: device, serialBaudRate: baudRate = limits.serialBaudRate, console = '' } = profile;
  const address = ipAddress ?? hostname;
  return {
    ...(hostname !== undefined &&
      address !== undefined && {
        ssh: {
          hostname,
          address,
          port,
          ...(username !== undefined && { username }),
          ...(keyPath !== undefined && { keyPath }),
          command: [
            'ssh',
            ...(port === 22 ? [] : ['-p', String(port)]),
            ...(keyPath === undefined ? [] : ['-i', keyPath]),
            username === undefined ? address : `${username}@${address}`,
          ].join(' '),
        },
      }),
    ...(device !== undefined && { serial: { device, baudRate, console } }),
  };
}

async function recentEvents({ db }: Store, subject: string): Promise<readonly LabEvent[]> {
  const rows = await db
    .selectFrom('events')
    .selectAll()
    .where('subject', '=', subject)
    .where(aboutResources)
    .orderBy('seq', 'desc')
    .limit(limits.diagnosisEntries)
    .execute();
  return rows.toReversed().map(({ data, ...event }) => ({ ...event, data: JSON.parse(data) as unknown }) as LabEvent);
}

async function failures(
  { db }: Store,
  logs: LogStore,
  failed: readonly { readonly id: string; readonly logId: string }[],
): Promise<readonly FailedWork[]> {
  const told: FailedWork[] = [];
  for (const { id, logId } of failed) {
    const item = await db.selectFrom('work_items').selectAll().where('id', '=', id).executeTakeFirst();
    if (item?.error == null) continue;
    told.push({
      id,
      kind: item.kind as WorkKind,
      failedAt: item.finished_at ?? item.created_at,
      error: JSON.parse(item.error) as StoredError,
      logTail: await logTail(logs, logId),
    });
  }
  return told;
}

async function logTail(logs: LogStore, logId: string): Promise<readonly string[]> {
  const size = (await logs.stat(logId))?.sizeBytes ?? 0;
  const chunks: Uint8Array[] = [];
  for await (const chunk of logs.read(logId, { offset: Math.max(0, size - limits.logChunkBytes) })) chunks.push(chunk);
  const lines = Buffer.concat(chunks).toString('utf8').split('\n');
  return lines.filter((line) => line.trim() !== '').slice(-limits.errorLines);
}
