import type { AlertTables } from './schema/alerts.ts';
import type { ArtifactTables } from './schema/artifacts.ts';
import type { BuildTables } from './schema/builds.ts';
import type { DeploymentTables } from './schema/deployments.ts';
import type { EnvironmentTables } from './schema/environments.ts';
import type { GroupTables } from './schema/groups.ts';
import type { HealthTables } from './schema/health.ts';
import type { PipelineTables } from './schema/pipelines.ts';
import type { PoolTables } from './schema/pool.ts';
import type { PowerTables } from './schema/power.ts';
import type { StoreTables } from './schema/store.ts';
import type { TestRunTables } from './schema/testruns.ts';
import type { WaitingTables } from './schema/waiting.ts';
import type { WorkTables } from './schema/work.ts';

/**
 * Tables as they are stored, each with its room in `schema/`. Times are milliseconds since the Unix epoch,
 * truth values 0 or 1, and JSON is text: the same on every engine.
 */
export interface Schema
  extends
    PoolTables,
    WaitingTables,
    GroupTables,
    WorkTables,
    StoreTables,
    ArtifactTables,
    BuildTables,
    DeploymentTables,
    EnvironmentTables,
    TestRunTables,
    PipelineTables,
    AlertTables,
    PowerTables,
    HealthTables {}
