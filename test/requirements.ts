import { capabilitiesR1ToR9 } from './requirements/capabilities-r1-r9.ts';
import { capabilitiesR10ToR18 } from './requirements/capabilities-r10-r18.ts';
import { failureRules } from './requirements/failure-rules.ts';
import { invariants } from './requirements/invariants.ts';
import type { Requirement } from './requirements/requirement.ts';

/**
 * What the system must do. A test cites what it proves at the start of its title or of a suite's
 * around it: `it('R4.2, P4: …')`. A run of all unit tests fails while one of these is cited by no
 * test that passed.
 */
export const requirements: readonly Requirement[] = Object.entries({
  ...capabilitiesR1ToR9,
  ...capabilitiesR10ToR18,
  ...invariants,
  ...failureRules,
}).map(([id, requirement]) => ({ id, ...requirement }));
