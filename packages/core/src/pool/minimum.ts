import { BringupError } from '../errors.ts';
import type { MinimumResources } from '../model/resource.ts';

/** Checks what a machine has against what it must have. @throws `insufficient-resources`: which, and how much. */
export function checkMinimum(
  name: string,
  minimum: MinimumResources,
  found: { readonly cpuCores: number; readonly memoryMb: number; readonly freeGb: number },
): void {
  const shortages = [
    { resource: 'cpuCores', wanted: minimum.minCpuCores ?? 0, found: found.cpuCores },
    { resource: 'memoryMb', wanted: minimum.minMemoryMb ?? 0, found: found.memoryMb },
    { resource: 'storageGb', wanted: minimum.minStorageGb ?? 0, found: found.freeGb },
  ].filter((amount) => amount.found < amount.wanted);
  if (shortages.length === 0) return;
  const list = shortages.map((s) => `${s.found} ${s.resource} instead of ${s.wanted}`).join(', ');
  throw new BringupError('insufficient-resources', `${name} has too little: ${list}`, { details: { shortages } });
}
