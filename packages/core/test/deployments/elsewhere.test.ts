import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BringupError, limits } from '@bringup/core';
import { memoryGuests, memoryLab } from '@bringup/core/testing';
import { boots, build } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { repositories } from '../support/requests.ts';

describe('a deployment to a VM', () => {
  it(
    'P24: whose host can’t be provisioned goes to another one, as long as there is one to try',
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 5 }),
          fc.nat(5),
          fc.constantFrom('refused', 'full', 'damaged' as const),
          async (count, broken, how) => {
            const lab = await memoryLab({ repositories, guest: boots });
            await using _lab = lab;
            await lab.addServer();
            for (let host = 0; host < count; host += 1) await lab.addHost();
            const buildId = await build(lab);
            for (let bad = 1; bad <= Math.min(broken, count); bad += 1) {
              const { faults, fs } = lab.shell.host(`host${bad}`);
              if (how === 'refused') faults.refuseConnection = true;
              else if (how === 'full') fs.capacityBytes = 1;
              else faults.corruptUploads = 1_000;
            }
            const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId } });
            const done = await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
            const code = { refused: 'connection-failed', full: 'disk-full', damaged: 'checksum-mismatch' }[how];
            // With more bad hosts than are tried, it depends on which come first.
            if (broken < count && broken < limits.deploymentTargetsTried) expect(done.status).toBe('completed');
            if (broken >= count || done.status !== 'completed')
              expect(done).toMatchObject({ status: 'failed', error: { code } });
            if (done.status === 'completed') await lab.clock.runUntil(lab.deployments.releaseDeployment(id));
            await expectNothingHeld(lab);
          },
        ),
        { numRuns: 100 },
      ),
    120_000,
  );

  it('E-transfer: tries a transfer three times more, then fails and says what went wrong', async () => {
    const lab = await memoryLab({ repositories, guest: boots });
    await using _lab = lab;
    await lab.addServer();
    const { id: hostId } = await lab.addHost();
    const buildId = await build(lab);
    const { faults } = lab.shell.host('host1');
    const deploy = async () => {
      const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId }, hostId });
      return lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    };
    faults.corruptUploads = limits.transferRetries + 1;
    expect(await deploy()).toMatchObject({
      status: 'failed',
      error: { code: 'checksum-mismatch', details: { expected: expect.any(String) } },
    });
    faults.corruptUploads = limits.transferRetries;
    expect(await deploy()).toMatchObject({ status: 'completed' });
  });

  it('R5.4, E-boot: can be tried again in its environment, and offers what is known to boot', async () => {
    let broken = false;
    const lab = await memoryLab({
      repositories,
      guest: (guest) => (broken ? memoryGuests.panics(guest) : boots(guest)),
    });
    await using _lab = lab;
    await lab.addServer();
    await lab.addHost();
    const good = await lab.deployments.deployToQemu({ artifacts: { buildId: await build(lab) } });
    await lab.clock.runUntil(lab.deployments.waitForDeployment(good.id));
    await expect(lab.deployments.rollbackDeployment(good.id)).rejects.toMatchObject({ code: 'conflict' });
    await lab.clock.runUntil(lab.deployments.releaseDeployment(good.id));
    broken = true;
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId: await build(lab) } });
    const failed = await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    expect(failed.error?.details).toMatchObject({ lastKnownGood: { deploymentId: good.id } });
    broken = false;
    await lab.clock.advance(1_000);
    const again = await lab.deployments.retryDeployment(id);
    expect(again.environmentId).toBe(failed.environmentId);
    expect(await lab.clock.runUntil(lab.deployments.waitForDeployment(again.id))).toMatchObject({
      status: 'completed',
    });
    expect(lab.hypervisor.host('host1').list()).toHaveLength(1);
    expect(
      (await lab.deployments.getDeploymentHistory({ environmentId: failed.environmentId })).map((each) => each.id),
    ).toEqual([again.id, id]);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(again.id));
    const anew = await lab.deployments.retryDeployment(id);
    expect(anew.environmentId).not.toBe(failed.environmentId);
    await lab.clock.runUntil(lab.deployments.waitForDeployment(anew.id));
    await lab.clock.runUntil(lab.deployments.releaseDeployment(anew.id));
    await expectNothingHeld(lab);
  });

  it('E-verify: is unverified once its VM is gone, or its host does not answer', async () => {
    const lab = await memoryLab({ repositories, guest: boots });
    await using _lab = lab;
    await lab.addServer();
    await lab.addHost();
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId: await build(lab) } });
    const { vmName = '' } = await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    const verify = () => lab.clock.runUntil(lab.deployments.verifyDeployment(id));
    expect(await verify()).toMatchObject({ verified: true, checks: [{ name: 'vm', outcome: 'passed' }] });
    lab.hypervisor.failNext('getVm', new BringupError('deadline-exceeded', 'injected', { retryable: true }));
    expect(await verify()).toMatchObject({ verified: true, attempts: 2 });
    lab.hypervisor.host('host1').crash(vmName);
    expect(await verify()).toMatchObject({ verified: false, checks: [{ outcome: 'failed' }] });
    expect(await lab.deployments.getDeploymentStatus(id)).toMatchObject({ bootVerified: false });
    await lab.clock.runUntil(lab.deployments.releaseDeployment(id));
    await expect(lab.deployments.verifyDeployment(id)).rejects.toMatchObject({ code: 'conflict' });
  });
});
