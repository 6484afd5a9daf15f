import type { LabEvent } from '@bringup/core';
import type { MemoryLab } from '@bringup/core/testing';

export const second = 1000;

/** The alerts about a resource, as they stand. */
export interface SeenAlert {
  readonly type: string;
  readonly severity: string;
  readonly raisedAt: number;
  readonly resolved: boolean;
}

/** All events of a lab so far. */
export async function eventsOf(lab: MemoryLab): Promise<LabEvent[]> {
  const events: LabEvent[] = [];
  for await (const event of lab.events.read()) events.push(event);
  return events;
}

/** The statuses a resource had, one after the other. */
export async function statusesOf(lab: MemoryLab, id: string): Promise<string[]> {
  const events = await eventsOf(lab);
  return events.flatMap((event) =>
    event.name === 'resource:status' && event.subject === id ? [event.data.status] : [],
  );
}

/** Alerts about a resource, from what was told. */
export async function alertsOf(lab: MemoryLab, id: string): Promise<SeenAlert[]> {
  const events = await eventsOf(lab);
  const resolved = new Set(events.flatMap((event) => (event.name === 'alert:resolved' ? [event.data.id] : [])));
  return events.flatMap((event) =>
    event.name === 'alert:raised' && event.data.subject === id
      ? [
          {
            type: event.data.type,
            severity: event.data.severity,
            raisedAt: event.at,
            resolved: resolved.has(event.data.id),
          },
        ]
      : [],
  );
}

/** Takes a machine off the network. */
export function unplug(lab: MemoryLab, hostname: string): void {
  lab.shell.host(hostname).faults.refuseConnection = true;
  lab.shell.host(hostname).dropConnections();
}

/** Puts it back. */
export function plugIn(lab: MemoryLab, hostname: string): void {
  lab.shell.host(hostname).faults.refuseConnection = false;
  lab.shell.host(hostname).faults.hang = false;
}
