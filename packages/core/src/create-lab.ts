import type { Lab, LabOptions } from './lab.ts';

/**
 * Opens a lab and starts to do its work, as far as this process has a role in it.
 *
 * The database and everything above it are loaded here and not when the package is imported, so that
 * a program that only might need a lab does not pay for one.
 *
 * @throws `store-failed` when the database can't be opened.
 */
export async function createLab(options: LabOptions): Promise<Lab> {
  const { openLab } = await import('./lab.ts');
  return openLab(options);
}
