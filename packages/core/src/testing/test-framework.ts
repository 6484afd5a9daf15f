import { BringupError } from '../errors.ts';

/** What the contract suites are written with. */
export interface TestFramework {
  readonly vitest: typeof import('vitest');
  readonly fc: typeof import('fast-check');
}

// Vitest and fast-check are optional peers: the fakes of this subpath serve programs and other test
// runners too, so neither is loaded outside a vitest run.
const framework: TestFramework | undefined =
  process.env['VITEST'] === undefined ? undefined : { vitest: await import('vitest'), fc: await import('fast-check') };

/**
 * Vitest and fast-check, for a contract suite that is being registered.
 * @throws `dependency-missing` outside a vitest run.
 */
export function testFramework(): TestFramework {
  if (framework !== undefined) return framework;
  throw new BringupError(
    'dependency-missing',
    'Contract suites run under vitest: install vitest and fast-check, and call the suite from a test file.',
  );
}
