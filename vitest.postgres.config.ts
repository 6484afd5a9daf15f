import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { reporters } from './test/reporters.ts';
import unit from './vitest.config.ts';

const onPostgres = fileURLToPath(new URL('packages/core/test/support/postgres/sqlite-provider.ts', import.meta.url));

/** The unit suite of the core, with each of its databases in PostgreSQL. */
export default defineConfig({
  ...unit,
  plugins: [
    {
      name: 'postgres-for-sqlite',
      enforce: 'pre',
      resolveId(source: string, importer: string | undefined): string | undefined {
        return source.endsWith('/sqlite-provider.ts') && importer !== onPostgres ? onPostgres : undefined;
      },
    },
  ],
  test: {
    ...unit.test,
    // Schemas are used again: what a file has left running must not be heard by another.
    isolate: true,
    reporters: reporters(),
    globalSetup: ['packages/core/test/support/postgres/server.ts'],
    include: ['packages/core/test/**/*.test.ts'],
    exclude: [
      '**/node_modules/**',
      '**/test/lab/**',
      // What only SQLite has: its dialect, its files, its way of waking, the text of its schema.
      'packages/core/test/store/{sqlite,sqlite-dialect,grouped-commits,commit-signal,schema}.test.ts',
    ],
  },
});
