import type { Reporter, TestModule } from 'vitest/node';

/**
 * Fails the run when a test was skipped or left to do, or when nothing ran: a lab suite that could
 * not test what it says has not passed.
 */
export function failOnSkipped(): Reporter {
  return {
    onTestRunEnd(modules: readonly TestModule[]): void {
      const tests = modules.flatMap((module) => [...module.children.allTests()]);
      const skipped = tests.filter((test) => test.result().state === 'skipped');
      for (const test of skipped) console.error(`skipped: ${test.module.relativeModuleId} > ${test.fullName}`);
      if (skipped.length > 0 || tests.length === 0) {
        console.error(`${skipped.length} of ${tests.length} tests were skipped; that counts as a failure here`);
        process.exitCode = 1;
      }
    },
  };
}
