import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { notFound, type StoredError } from '../errors.ts';
import type { Artifact } from '../model/artifact.ts';
import type { TestConfig, TestRunStatus } from '../model/test-run.ts';
import { validate } from '../model/validate.ts';
import { insertion } from '../store/prepared.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import { courseOf, statusOf } from '../work/records.ts';
import type { ReadLogOptions } from '../work/logs.ts';
import { testLogId, type TestRunInput } from './handler.ts';
import { testConfigSchema } from './schema.ts';
import type { TestReport } from './test-report.ts';

/** A test run. Times are milliseconds since the Unix epoch. */
export interface TestRun {
  readonly id: string;
  readonly deploymentId: string;
  readonly status: TestRunStatus;
  /** What the tests said; absent until they are over. */
  readonly results?: TestReport;
  /** `results.json`, `junit.xml` and `test.log`. */
  readonly artifacts: readonly Artifact[];
  readonly startedAt?: number;
  readonly completedAt?: number;
  readonly errorMessage?: string;
  readonly error?: StoredError;
  readonly createdAt: number;
}

/** Test runs on deployed targets. */
export class TestRunManager {
  readonly #store: Store;
  readonly #work: WorkEngine;
  readonly #artifacts: ArtifactRepository;

  constructor(options: { store: Store; work: WorkEngine; artifacts: ArtifactRepository }) {
    this.#store = options.store;
    this.#work = options.work;
    this.#artifacts = options.artifacts;
  }

  /**
   * Queues a test run on the target of a completed deployment.
   * @throws `invalid-input` with one issue per field; `not-found`.
   */
  async runTests(deploymentId: string, tests: TestConfig): Promise<TestRun> {
    const config = validate('the test run', testConfigSchema, tests);
    await this.#work.get(deploymentId);
    const input: TestRunInput = { deploymentId, tests: config };
    const id = await this.#work.submit('testrun', input, {
      prepare: (tx, runId) => insertTestRun(tx, runId, deploymentId),
    });
    return this.getTestRun(id);
  }

  /** @throws `not-found`. */
  async getTestRun(id: string): Promise<TestRun> {
    const row = await this.#store.db.selectFrom('test_runs').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw notFound('test run', id);
    const item = await this.#work.get(id);
    return {
      id,
      deploymentId: row.deployment_id,
      status: statusOf(item, item.state === 'queued' ? 'queued' : 'running'),
      ...(row.results !== null && { results: JSON.parse(row.results) as TestReport }),
      artifacts: await this.#artifacts.getArtifactsByProducer(id),
      ...courseOf(item),
    };
  }

  /** Waits for the end of a test run. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async waitForTestRun(id: string, options: CallOptions = {}): Promise<TestRun> {
    await this.#work.finished(id, options);
    return this.getTestRun(id);
  }

  /** What the tests printed, byte for byte; with `follow` as it comes, to its end. */
  getTestLogs(id: string, options: ReadLogOptions = {}): AsyncIterable<Uint8Array> {
    return this.#work.logs.readOf(id, testLogId(id), options);
  }

  /** Stops a test run. The target stays up. @throws `not-found`. */
  async cancelTestRun(id: string): Promise<void> {
    await this.getTestRun(id);
    await this.#work.cancel(id, 'the test run was cancelled');
  }
}

const addTestRun = insertion('test_runs');

/** Writes the test run's own record beside its work item. */
export async function insertTestRun({ db }: StoreTransaction, id: string, deploymentId: string): Promise<void> {
  await addTestRun(db, { id, deployment_id: deploymentId, results: null });
}
