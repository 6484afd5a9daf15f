import type { Clock, Random } from '../contracts/runtime.ts';
import type { AlertSeverity, AlertType } from '../model/alert.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { raiseAlert, resolveAlert } from './raise.ts';

/** What the failure of one kind of work means to people. */
interface WorkRule {
  readonly type: AlertType;
  readonly severity: AlertSeverity;
  /** How a person calls the work. */
  readonly title: string;
  /** What the work is a try of: the next try of the same that succeeds ends the alert. */
  readonly subject: (tx: StoreTransaction, id: string) => Promise<Subject | undefined>;
}

interface Subject {
  readonly subject: string;
  /** How a person calls it. */
  readonly name: string;
}

const rules = {
  build: { type: 'build-failed', severity: 'warning', title: 'build', subject: buildSubject },
  pipeline: { type: 'pipeline-failed', severity: 'warning', title: 'pipeline', subject: pipelineSubject },
  deployment: { type: 'deployment-failed', severity: 'warning', title: 'deployment', subject: deploymentSubject },
  testrun: { type: 'test-failed', severity: 'warning', title: 'test run', subject: testRunSubject },
} as const satisfies Readonly<Record<string, WorkRule>>;

/**
 * Raises an alert when work that somebody asked for fails, and ends it when the next try of the same
 * succeeds. Work that is a part of other work is told of by that. Cancelled work has not failed.
 */
export function alertOfFailedWork(store: Store, services: { readonly clock: Clock; readonly random: Random }): void {
  for (const kind of Object.keys(rules) as (keyof typeof rules)[]) {
    const { type, severity, title, subject: subjectOf } = rules[kind];
    store.react(`${kind}:failed`, async (tx, id, { parentId, error }) => {
      if (parentId !== undefined || error === undefined) return;
      const about = await subjectOf(tx, id);
      await raiseAlert(
        tx,
        {
          type,
          severity,
          subject: about?.subject ?? id,
          message: `the ${title}${about === undefined ? '' : ` ${about.name}`} failed: ${error.message}`,
          details: { workId: id, code: error.code, retryable: error.retryable },
        },
        services,
      );
    });
    store.react(`${kind}:succeeded`, async (tx, id, { parentId }) => {
      if (parentId !== undefined) return;
      const subject = (await subjectOf(tx, id))?.subject ?? id;
      await resolveAlert(tx, { type, subject }, `${title} ${id} succeeded`, services.clock.now());
    });
  }
}

/** Work of which each try has the same name. */
function named(name: string): Subject {
  return { subject: name, name: `of ${name}` };
}

async function buildSubject({ db }: StoreTransaction, id: string): Promise<Subject | undefined> {
  const row = await db
    .selectFrom('builds')
    .select(['repository', 'branch', 'wanted_commit', 'architecture'])
    .where('id', '=', id)
    .executeTakeFirst();
  return row && named(`${row.repository} ${row.wanted_commit ?? row.branch} ${row.architecture}`);
}

async function pipelineSubject({ db }: StoreTransaction, id: string): Promise<Subject | undefined> {
  const row = await db.selectFrom('pipelines').selectAll().where('id', '=', id).executeTakeFirst();
  return row && named(row.name ?? `${row.repository} ${row.branch} ${row.architecture} ${row.environment_type}`);
}

/** The machine, once there is one. */
async function deploymentSubject({ db }: StoreTransaction, id: string): Promise<Subject | undefined> {
  const row = await db
    .selectFrom('deployments')
    .innerJoin('resources', 'resources.id', 'deployments.target_id')
    .select(['resources.id', 'resources.name'])
    .where('deployments.id', '=', id)
    .executeTakeFirst();
  return row && { subject: row.id, name: `to ${row.name}` };
}

async function testRunSubject({ db }: StoreTransaction, id: string): Promise<Subject | undefined> {
  const row = await db.selectFrom('test_runs').select('deployment_id').where('id', '=', id).executeTakeFirst();
  return row && { subject: row.deployment_id, name: `on deployment ${row.deployment_id}` };
}
