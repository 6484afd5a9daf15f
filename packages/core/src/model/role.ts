import type { WorkKind } from './work.ts';

/** See {@link Role}. */
export const roles = ['builds', 'deployments', 'health', 'recovery'] as const;

/**
 * What a process does for a lab. Each role is wanted in at least one process; any number may have it.
 *
 * - `builds`: builds.
 * - `deployments`: deployments, flashing, boots and test runs, and taking down what was deployed.
 * - `health`: watching the resources, shared between the processes that do.
 * - `recovery`: putting things right: power cycles, taking down what was deployed, reservations that ran out,
 *   orphans, maintenance, policies, retention, and telling of alerts.
 */
export type Role = (typeof roles)[number];

/** The work that a role does. */
export const workOf: Readonly<Record<Role, readonly WorkKind[]>> = {
  builds: ['build'],
  deployments: ['deployment', 'flash', 'boot', 'testrun', 'release'],
  health: [],
  recovery: ['power', 'release', 'notification'],
};
