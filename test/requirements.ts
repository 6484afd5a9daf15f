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

/** Requirements without a proof so far. This list only ever gets shorter. */
export const pending: readonly string[] = [
  'R5.1',
  'R5.2',
  'R5.3',
  'R5.4',
  'R5.5',
  'R6.1',
  'R6.2',
  'R6.3',
  'R6.4',
  'R6.5',
  'R11.5',
  'R12.1',
  'R12.2',
  'R12.3',
  'R12.4',
  'R12.5',
  'R15.2',
  'R17.1',
  'R17.2',
  'R17.3',
  'R17.5',
  'E-transfer',
  'E-flash',
  'E-boot',
  'E-verify',
];
