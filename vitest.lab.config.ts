import { defineConfig } from 'vitest/config';
import { failOnSkipped } from './test/fail-on-skipped.ts';
import { KernelFirst } from './test/kernel-first.ts';
import { reporters } from './test/reporters.ts';

/** The lab suites: real daemons, real kernels. Each file starts its own; two at a time, for much of it is waiting. */
export default defineConfig({
  resolve: { conditions: ['bringup-source'] },
  ssr: { resolve: { conditions: ['bringup-source'] } },
  test: {
    include: ['**/test/lab/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    maxWorkers: 2,
    sequence: { sequencer: KernelFirst },
    testTimeout: 300_000,
    hookTimeout: 900_000,
    reporters: [...reporters('lab'), failOnSkipped()],
  },
});
