import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { reporters } from './test/reporters.ts';

export default defineConfig({
  resolve: { conditions: ['bringup-source'] },
  ssr: { resolve: { conditions: ['bringup-source'] } },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/test/lab/**'],
    // Vitest leaves a core to itself, which on two cores is half of the time.
    maxWorkers: availableParallelism(),
    // What is loaded once is loaded for all files of a worker: a fifth of the time.
    isolate: false,
    // Properties run a hundred labs each; a machine may be busy with other things.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: reporters('unit'),
  },
});
