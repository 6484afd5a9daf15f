import { sleep, withDeadline } from '../async.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { VerificationReport } from '../model/deployment.ts';
import type { PlacedDeployment } from './records.ts';
import type { DeploymentServices } from './services.ts';
import type { DeploymentTarget } from './target.ts';

/**
 * Looks whether what runs is what was deployed. A look that takes too long, or does not get through, is
 * tried again a few times; then the deployment is unverified, and says why.
 * @throws `aborted`.
 */
export async function verifyPlaced(
  { clock, store }: Pick<DeploymentServices, 'clock' | 'store'>,
  target: DeploymentTarget,
  deployment: PlacedDeployment,
  options: CallOptions,
): Promise<VerificationReport> {
  const row = await store.db
    .selectFrom('deployments')
    .select('verification')
    .where('id', '=', deployment.id)
    .executeTakeFirstOrThrow();
  const before = row.verification === null ? undefined : (JSON.parse(row.verification) as VerificationReport);
  const bootId = before?.bootId;
  let attempts = 0;
  let report: VerificationReport | undefined;
  while (report === undefined) {
    attempts += 1;
    try {
      const bounded = { timeoutMs: limits.verifyTimeoutMs, ...options };
      const seen = await withDeadline(clock, `verifying deployment ${deployment.id}`, bounded, (signal) =>
        target.verify(deployment, bootId, { signal }),
      );
      const outcomes = seen.checks.map(({ outcome }) => outcome);
      const verified = outcomes.includes('passed') && !outcomes.includes('failed');
      const failed = seen.checks.find(({ outcome }) => outcome === 'failed');
      report = {
        verified,
        checks: seen.checks,
        attempts,
        at: clock.now(),
        ...(failed !== undefined && { reason: failed.message }),
        ...((bootId ?? seen.bootId) !== undefined && { bootId: bootId ?? seen.bootId ?? '' }),
      };
    } catch (error) {
      const failure = toBringupError(error);
      if (options.signal?.aborted === true) throw failure;
      if (attempts <= limits.verifyRetries) {
        await sleep(clock, limits.reconnectBackoffMs * 2 ** attempts, options.signal);
        continue;
      }
      const known = bootId === undefined ? {} : { bootId };
      report = { verified: false, checks: [], reason: failure.message, attempts, at: clock.now(), ...known };
    }
  }
  await store.transaction(async ({ db }) => {
    await db
      .updateTable('deployments')
      .set({ verification: JSON.stringify(report), ...(!report.verified && { boot_verified: 0 }) })
      .where('id', '=', deployment.id)
      .execute();
  });
  return report;
}
