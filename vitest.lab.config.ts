import { defineConfig } from 'vitest/config';
import { failOnSkipped } from './test/fail-on-skipped.ts';
import { reporters } from './test/reporters.ts';

/** The lab suites: real daemons, real kernels. One file at a time, they share one machine. */
export default defineConfig({
  resolve: { conditions: ['bringup-source'] },
  ssr: { resolve: { conditions: ['bringup-source'] } },
  test: {
    include: ['**/test/lab/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 900_000,
    reporters: [...reporters('lab'), failOnSkipped()],
  },
});
