// Opens a lab in which everything fails, and crashes with what failed: crash-with-canaries.ts HOW PORT FOLDER
import { join } from 'node:path';
import process, { argv } from 'node:process';
import { silentLogger } from '@bringup/core';
import { openCanaryLab } from './canary-lab.ts';

const [how = '', port = '', folder = ''] = argv.slice(2);
const { lab, registrations } = await openCanaryLab({
  path: join(folder, `${how}.db`),
  folder,
  port: Number(port),
  logger: silentLogger,
});
const errors: unknown[] = [];
for (const register of registrations(lab)) errors.push(await register().catch((error: unknown) => error));
const all = new AggregateError(errors, 'everything failed');
if (how === 'printed') {
  console.error(all, lab, errors);
  process.exit(0);
} else {
  setImmediate(() => {
    throw all;
  });
}
