import { relative } from 'node:path';
import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node';
import { requirements } from '../requirements.ts';
import { judgeCoverage, type TestResult } from './coverage.ts';
import { root, writeReport, type Suite } from './report.ts';

/**
 * Fails a run whose tests cite requirements wrongly, and a run of all unit tests that leaves one
 * unproven. What a whole run proved is kept for `pnpm requirements`.
 */
export function requirementCoverage(suite: Suite): Reporter {
  let vitest: Vitest | undefined;
  return {
    onInit: (started) => void (vitest = started),
    async onTestRunEnd(modules, _errors, reason): Promise<void> {
      if (vitest === undefined || reason === 'interrupted') return;
      const results = modules.flatMap((module) => [...module.children.allTests()].map(resultOf));
      const whole = await ranEverything(vitest, modules);
      const { provenBy, problems } = judgeCoverage(results, requirements, whole && suite === 'unit');
      if (whole)
        writeReport(
          suite,
          results.filter(({ passed }) => passed),
        );
      if (whole && suite === 'unit') {
        console.log(`\nRequirements: ${provenBy.size} of ${requirements.length} are proven`);
      }
      for (const problem of problems) console.error(`requirements: ${problem}`);
      if (problems.length > 0) process.exitCode = 1;
    },
  };
}

/** Whether neither files nor tests were picked out. */
async function ranEverything(vitest: Vitest, modules: readonly TestModule[]): Promise<boolean> {
  if (vitest.config.testNamePattern !== undefined) return false;
  const ran = new Set(modules.map(({ moduleId }) => moduleId));
  const all = await vitest.globTestSpecifications();
  return all.every(({ moduleId }) => ran.has(moduleId));
}

function resultOf(test: TestCase): TestResult {
  const titles = [test.name];
  for (let parent: TestSuite | TestModule = test.parent; parent.type === 'suite'; parent = parent.parent) {
    titles.unshift(parent.name);
  }
  const { state } = test.result();
  const file = relative(root, test.module.moduleId);
  return { file, titles, passed: state === 'passed', skipped: state === 'skipped' };
}
