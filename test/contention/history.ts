import type { Lab } from '@bringup/core';

/** What the events of a lab say of who had which board. */
export async function overlapsIn(lab: Lab): Promise<{ readonly grants: number; readonly violations: string[] }> {
  const violations: string[] = [];
  const holders = new Map<string, string>();
  const fences = new Map<string, number>();
  let grants = 0;
  for await (const event of lab.events.read()) {
    if (event.name === 'reservation:granted') {
      const { id, resourceId, fence } = event.data as { id: string; resourceId: string; fence: number };
      grants += 1;
      const before = holders.get(resourceId);
      if (before !== undefined)
        violations.push(`event ${event.seq}: ${resourceId} is granted to ${id} while ${before} has it`);
      if ((fences.get(resourceId) ?? 0) >= fence)
        violations.push(`event ${event.seq}: the fence of ${resourceId} is ${fence} again`);
      holders.set(resourceId, id);
      fences.set(resourceId, fence);
    } else if (event.name === 'reservation:released' || event.name === 'reservation:expired') {
      const { id, resourceId } = event.data as { id: string; resourceId: string };
      if (holders.get(resourceId) !== id)
        violations.push(`event ${event.seq}: ${id} gives ${resourceId} back, but does not have it`);
      holders.delete(resourceId);
    }
  }
  return { grants, violations };
}
