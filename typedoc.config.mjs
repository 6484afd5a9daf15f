import { globSync, readFileSync } from 'node:fs';

/** The reference of all packages: `pnpm docs` writes it to docs/api. A warning fails the run. */
export default {
  name: 'bringup',
  readme: 'packages/core/README.md',
  entryPoints: globSync(['packages/*/src/index.ts', 'packages/core/src/testing/index.ts']).sort(),
  tsconfig: 'tsconfig.build.json',
  out: 'docs/api',
  includeVersion: false,
  disableSources: true,
  excludeInternal: true,
  treatWarningsAsErrors: true,
  validation: { notExported: true, invalidLink: true, invalidPath: true, notDocumented: true },
  packagesRequiringDocumentation: globSync('packages/*/package.json').map(
    (file) => JSON.parse(readFileSync(file, 'utf8')).name,
  ),
  // A field whose name and type say it all needs no comment; one that has a unit or a default does.
  requiredToBeDocumented: ['Variable', 'Function', 'Class', 'Interface', 'Method', 'Accessor', 'TypeAlias'],
};
