import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BringupError, limits, type Deployment } from '@bringup/core';
import {
  memoryGuests,
  memoryLab,
  type MemoryBoot,
  type MemoryGuest,
  type MemoryLab,
  type MemoryLabOptions,
} from '@bringup/core/testing';
import { pickBootFiles } from '../../src/deployments/vm.ts';
import { bootsSlowly } from '../support/boards.ts';
import { expectForeignFilesRefused } from '../support/foreign-files.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelBuild, repositories, textOf } from '../support/requests.ts';

const runs = async (guest: MemoryGuest): Promise<void> => {
  guest.say('Linux version 6.1.0\r\nwelcome\r\nlab login: ');
  await guest.idle();
};

/** A lab with a host and a finished build. */
async function labWith(
  guest: MemoryBoot,
  options: MemoryLabOptions = {},
): Promise<{ lab: MemoryLab; buildId: string }> {
  const lab = await memoryLab({ repositories, guest, ...options });
  await lab.addServer();
  await lab.addHost();
  const { id } = await lab.builds.submitBuild(kernelBuild);
  await lab.clock.runUntil(lab.builds.waitForBuild(id));
  return { lab, buildId: id };
}

async function deploy(lab: MemoryLab, buildId: string): Promise<Deployment> {
  const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId } });
  return lab.clock.runUntil(lab.deployments.waitForDeployment(id));
}

const vms = (lab: MemoryLab): readonly unknown[] => lab.hypervisor.host('host1').list();

describe('a deployment', () => {
  it('boots the build in a VM, and keeps it until it is released', async () => {
    const { lab, buildId } = await labWith(runs);
    await using _lab = lab;
    const done = await deploy(lab, buildId);
    expect(done).toMatchObject({
      status: 'completed',
      bootVerified: true,
      buildId,
      boot: { outcome: 'booted', excerpt: ['lab login: '] },
    });
    expect(vms(lab)).toMatchObject([{ name: done.vmName, state: 'running', tags: { deployment: done.id } }]);
    expect((await lab.hosts.findHost('host1'))?.runningVmCount).toBe(1);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(done.id));
    expect((await lab.deployments.getDeploymentStatus(done.id)).releasedAt).toBeDefined();
    await expectNothingHeld(lab);
  });

  it('that nobody releases is given back when its time is over', async () => {
    const { lab, buildId } = await labWith(runs);
    await using _lab = lab;
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId }, keepMs: 60_000 });
    await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    await lab.clock.advance(40_000);
    expect(vms(lab).length).toBe(1);
    await lab.clock.advance(40_000);
    await expectNothingHeld(lab);
  });

  it('that is released while it is under way is cancelled, and nothing stays', async () => {
    const { lab, buildId } = await labWith(async (guest) => (guest.say('booting'), guest.idle()));
    await using _lab = lab;
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId } });
    await lab.clock.advance(2_000);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(id));
    expect((await lab.deployments.getDeploymentStatus(id)).status).toBe('cancelled');
    await expectNothingHeld(lab);
  });

  it.each([
    ['never speaks', 'boot-timeout', memoryGuests.silent, limits.bootSilenceMs],
    [
      'hangs half-way',
      'boot-timeout',
      async (guest) => (guest.say('Linux version 6.1.0\r\n'), guest.idle()),
      limits.bootTimeoutMs,
    ],
    ['panics', 'boot-failed', memoryGuests.panics, 15_000],
    ['stops before it is up', 'boot-failed', async (guest) => guest.say('oops\r\n'), 5_000],
  ] satisfies [string, string, MemoryBoot, number][])(
    'E-boot, R5.4: whose VM %s fails with %s, its log is kept, and it stays for a while, but not for ever',
    async (_what, code, guest, withinMs) => {
      const { lab, buildId } = await labWith(guest);
      await using _lab = lab;
      const begun = lab.clock.now();
      const failed = await deploy(lab, buildId);
      expect(failed).toMatchObject({ status: 'failed', bootVerified: false, error: { code } });
      expect(lab.clock.now() - begun).toBeLessThan(withinMs + 15_000);
      const [log] = await lab.artifacts.getArtifactsByProducer(failed.bootId ?? '');
      expect(log).toMatchObject({ artifactType: 'boot_log', filename: 'boot.log' });
      expect((await lab.artifacts.readAll(log ?? expect.fail())).toString()).toBe(
        await textOf(lab.deployments.getBootLog(failed.id)),
      );
      expect((await lab.hosts.findHost('host1'))?.runningVmCount).toBe(1);
      await lab.clock.advance(limits.failedDeploymentKeepMs + 10_000);
      await expectNothingHeld(lab);
    },
  );

  it('tells which signature a panic has', async () => {
    const { lab, buildId } = await labWith(memoryGuests.panics);
    await using _lab = lab;
    const { boot } = await deploy(lab, buildId);
    expect(boot).toMatchObject({ outcome: 'failed', matched: 'root-mount' });
    expect(boot?.excerpt.join('\n')).toContain('Unable to mount root fs');
  });

  it('waits for its console longer than for a connection, for a process that stands still may hold it', async () => {
    const { lab, buildId } = await labWith(runs);
    await using _lab = lab;
    const busy = new BringupError('console-busy', 'somebody else holds it', { retryable: true });
    for (let time = 0; time < limits.reconnectAttempts + 3; time += 1) lab.hypervisor.failNext('openConsole', busy);
    const begun = lab.clock.now();
    expect(await deploy(lab, buildId)).toMatchObject({ status: 'completed' });
    // It looks every few seconds in the end.
    expect(lab.clock.now() - begun).toBeLessThan(limits.bootSilenceMs);
  });

  it('goes on listening when the connection to the console breaks', async () => {
    const { lab, buildId } = await labWith(bootsSlowly);
    await using _lab = lab;
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId } });
    for (let second = 0; second < 15; second += 3) {
      await lab.clock.advance(3_000);
      await lab.hypervisor.disconnect();
    }
    expect(await lab.clock.runUntil(lab.deployments.waitForDeployment(id))).toMatchObject({ status: 'completed' });
    expect((await textOf(lab.deployments.getBootLog(id))).match(/line \d+/g)).toEqual(
      Array.from({ length: 20 }, (_, line) => `line ${line}`),
    );
  });

  it('sends a file again that arrived damaged, and one the host has already not at all', async () => {
    const { lab, buildId } = await labWith(runs);
    await using _lab = lab;
    lab.shell.host('host1').faults.corruptUploads = 2;
    await deploy(lab, buildId);
    lab.shell.host('host1').faults.corruptUploads = 100;
    expect((await deploy(lab, buildId)).status).toBe('completed');
  });

  it('fails when files keep arriving damaged, and when the host’s disk is full', async () => {
    const { lab, buildId } = await labWith(runs);
    await using _lab = lab;
    lab.shell.host('host1').faults.corruptUploads = 100;
    expect((await deploy(lab, buildId)).error).toMatchObject({ code: 'checksum-mismatch' });
    lab.shell.host('host1').faults.corruptUploads = 0;
    lab.shell.host('host1').fs.capacityBytes = 1;
    expect((await deploy(lab, buildId)).error).toMatchObject({ code: 'disk-full' });
    await expectNothingHeld(lab);
  });

  it('whose host is out of reach while it is given back keeps trying, and leaves no VM', async () => {
    const { lab, buildId } = await labWith(memoryGuests.panics);
    await using _lab = lab;
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId } });
    using _cut = await lab.events.on('release:started', () => {
      lab.shell.host('host1').faults.refuseConnection = true;
      lab.clock.timer(10_000, () => (lab.shell.host('host1').faults.refuseConnection = false));
    });
    expect((await lab.clock.runUntil(lab.deployments.waitForDeployment(id))).status).toBe('failed');
    await lab.clock.runUntil(lab.deployments.releaseDeployment(id));
    await expectNothingHeld(lab);
  });

  it('can be looked at after the artifacts it was made of have been deleted', async () => {
    const { lab, buildId } = await labWith(runs);
    await using _lab = lab;
    const { id } = await deploy(lab, buildId);
    await expect(lab.artifacts.deleteArtifacts(buildId)).rejects.toMatchObject({ code: 'conflict' });
    await lab.artifacts.deleteArtifacts(buildId, { force: true });
    expect(await lab.deployments.getDeploymentStatus(id)).toMatchObject({ status: 'completed', artifacts: [] });
  });

  it('waits when no host has room, and goes on when one has', async () => {
    const lab = await memoryLab({ repositories, guest: runs });
    await using _lab = lab;
    await lab.addServer();
    await lab.addHost({ maxVms: 1 });
    const { id: buildId } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(buildId));
    const first = await deploy(lab, buildId);
    const second = await lab.deployments.deployToQemu({ artifacts: { buildId } });
    await lab.clock.advance(60_000);
    expect((await lab.deployments.getDeploymentStatus(second.id)).status).toBe('pending');
    await lab.clock.runUntil(lab.deployments.releaseDeployment(first.id));
    expect((await lab.clock.runUntil(lab.deployments.waitForDeployment(second.id))).status).toBe('completed');
  });

  it('nothing stays reserved, whatever call to the hypervisor fails', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom('connect', 'capabilities', 'getVm', 'createVm', 'startVm', 'openConsole', 'destroyVm' as const),
        fc.constantFrom('hypervisor-failed', 'connection-lost', 'console-busy' as const),
        fc.integer({ min: 1, max: 3 }),
        async (call, code, times) => {
          const { lab, buildId } = await labWith(memoryGuests.passes);
          await using _lab = lab;
          for (let time = 0; time < times; time += 1)
            lab.hypervisor.failNext(call as 'createVm', new BringupError(code as 'console-busy', 'injected'));
          const done = await deploy(lab, buildId);
          if (done.releasedAt === undefined) await lab.clock.runUntil(lab.deployments.releaseDeployment(done.id));
          await expectNothingHeld(lab);
        },
      ),
      { numRuns: 100 },
    ));

  it('whose controller dies while files are sent goes on, with one VM', async () => {
    const { lab, buildId } = await labWith(memoryGuests.passes);
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId } });
    const crashed = Promise.withResolvers<void>();
    await lab.events.on('deployment:phase', ({ data }) => {
      if (data.phase === 'transferring') void lab.crash().then(crashed.resolve);
    });
    await lab.clock.runUntil(crashed.promise);
    await using next = await lab.reopen();
    expect((await next.clock.runUntil(next.deployments.waitForDeployment(id))).status).toBe('completed');
    expect(vms(next).length).toBe(1);
  });
});

it('P6: files of another architecture than the VM’s are refused', () => {
  expectForeignFilesRefused('initrd', (built, wanted) => pickBootFiles(built, [], {}, wanted));
});
