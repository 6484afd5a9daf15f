import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requirements } from '../requirements.ts';
import { judgeCoverage } from './coverage.ts';
import { toDocument, toText } from './document.ts';
import { readFreshReport, root } from './report.ts';

// npm run requirements [-- --write]: what is required, implemented where, proven where. Runs the
// unit tests unless they have run since the last change; adds the lab suites when those have.
if (readFreshReport('unit') === undefined) {
  console.error('No run of all unit tests is newer than the sources: running them.');
  spawnSync('vitest', ['run'], { cwd: root, stdio: ['ignore', 2, 2] });
}
const unit = readFreshReport('unit');
if (unit === undefined) throw new Error('the unit tests did not run to their end; see what they said above');

const { provenBy } = judgeCoverage([...unit, ...(readFreshReport('lab') ?? [])], requirements, false);
if (process.argv.includes('--write')) {
  writeFileSync(join(root, 'docs', 'REQUIREMENTS.md'), toDocument(requirements, provenBy));
}
console.log(toText(requirements, provenBy));
if (provenBy.size < requirements.length) process.exitCode = 1;
