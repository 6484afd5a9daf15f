// Publishes what changesets has raised, with npm's provenance. Run by the release workflow only:
//
//   node .ci/setup.mjs node .ci/release.mjs
//
// Provenance ties a package to the repository it was built in, so each package must name that one.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const {
  GITHUB_REPOSITORY: repository,
  NPM_CONFIG_PROVENANCE: provenance,
  ACTIONS_ID_TOKEN_REQUEST_URL: identity,
} = process.env;
if (repository === undefined || provenance !== 'true' || identity === undefined) {
  console.error('release: this runs in the release workflow, where there is an identity that provenance can name');
  process.exit(1);
}
for (const folder of readdirSync(join(root, 'packages'))) {
  const file = join(root, 'packages', folder, 'package.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8'));
  manifest.repository = {
    type: 'git',
    url: `git+https://github.com/${repository}.git`,
    directory: `packages/${folder}`,
  };
  writeFileSync(file, `${JSON.stringify(manifest, undefined, 2)}\n`);
}
for (const argv of [
  ['pnpm', 'run', 'build'],
  ['pnpm', 'run', 'packaging'],
  ['changeset', 'publish'],
]) {
  const { status } = spawnSync(argv[0], argv.slice(1), { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
