import { alertLimits } from './limits/alerts.ts';
import { artifactLimits } from './limits/artifacts.ts';
import { buildLimits } from './limits/builds.ts';
import { consoleLimits } from './limits/consoles.ts';
import { deploymentLimits } from './limits/deployments.ts';
import { healthLimits } from './limits/health.ts';
import { hypervisorLimits } from './limits/hypervisors.ts';
import { poolLimits } from './limits/pool.ts';
import { powerLimits } from './limits/power.ts';
import { selectionLimits } from './limits/selection.ts';
import { serialLimits } from './limits/serial.ts';
import { shellLimits } from './limits/shells.ts';
import { statusLimits } from './limits/status.ts';
import { storeLimits } from './limits/store.ts';
import { telemetryLimits } from './limits/telemetry.ts';
import { testRunLimits } from './limits/testruns.ts';
import { workLimits } from './limits/work.ts';

type All = typeof shellLimits &
  typeof serialLimits &
  typeof consoleLimits &
  typeof hypervisorLimits &
  typeof workLimits &
  typeof storeLimits &
  typeof artifactLimits &
  typeof buildLimits &
  typeof poolLimits &
  typeof selectionLimits &
  typeof deploymentLimits &
  typeof testRunLimits &
  typeof alertLimits &
  typeof powerLimits &
  typeof healthLimits &
  typeof telemetryLimits &
  typeof statusLimits;

/** What {@link limits} holds. */
export interface Limits extends All {}

/**
 * Every default and every bound of the SDK, in one place. Units are part of the name. A bound is
 * what keeps one noisy job, board or peer from taking the process down with it.
 */
export const limits: Limits = {
  ...shellLimits,
  ...serialLimits,
  ...consoleLimits,
  ...hypervisorLimits,
  ...workLimits,
  ...storeLimits,
  ...artifactLimits,
  ...buildLimits,
  ...poolLimits,
  ...selectionLimits,
  ...deploymentLimits,
  ...testRunLimits,
  ...alertLimits,
  ...powerLimits,
  ...healthLimits,
  ...telemetryLimits,
  ...statusLimits,
};
