import { expect, it } from 'vitest';
import { limits, type LabEvent } from '@bringup/core';
import { memoryGuests, memoryLab, type MemoryBoot, type MemoryLab } from '@bringup/core/testing';
import { boots, build, deployToBoard } from '../support/boards.ts';
import { kernelPipeline, repositories } from '../support/requests.ts';

interface Deployed {
  readonly lab: MemoryLab;
  readonly id: string;
  readonly environmentId: string;
  readonly vm: string;
}

/** A lab with a VM that has booted. */
async function deployed(display?: boolean, guest: MemoryBoot = boots): Promise<Deployed> {
  const lab = await memoryLab({ repositories, guest, boardGuest: boots });
  await lab.addServer();
  await lab.addHost();
  const buildId = await build(lab);
  const { id } = await lab.deployments.deployToQemu({
    artifacts: { buildId },
    ...(display !== undefined && { vm: { display } }),
  });
  const { environmentId, vmName } = await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
  return { lab, id, environmentId, vm: vmName ?? expect.fail() };
}

async function told(lab: MemoryLab): Promise<LabEvent[]> {
  const events: LabEvent[] = [];
  for await (const event of lab.events.read()) if (event.name.startsWith('vm:')) events.push(event);
  return events;
}

const said = ({ lab, vm }: Deployed): string => lab.hypervisor.host('host1').said(vm) ?? '';

it('a deployed VM is reset, by its deployment or its environment: it boots anew, and who asked for it is told', async () => {
  const deployment = await deployed();
  const { lab, id, environmentId, vm } = deployment;
  await using _lab = lab;
  const once = said(deployment);
  await lab.clock.runUntil(lab.vms.reset({ deploymentId: id }, { by: 'ada', reason: 'it hung' }));
  await lab.clock.runUntil(lab.vms.reset({ environmentId }));
  await lab.clock.advance(1_000);
  expect(said(deployment)).toBe(once.repeat(3));
  expect(await lab.environments.inspect(environmentId)).toMatchObject({ connection: 'connected' });
  const [host] = await lab.hosts.getAllHosts();
  const about = { id, environmentId, vm, hostId: host?.id };
  expect(await told(lab)).toMatchObject([
    { name: 'vm:reset', subject: id, data: { ...about, by: 'ada', reason: 'it hung' } },
    { name: 'vm:reset', subject: id, data: { ...about, by: 'user', reason: 'on request' } },
  ]);
  expect((await told(lab))[0]?.data).not.toHaveProperty('error');
});

it('a deployed VM gets an NMI, which ends a guest that knows no better; nothing is done to one that does not run', async () => {
  const { lab, id, environmentId, vm } = await deployed();
  await using _lab = lab;
  await lab.clock.runUntil(lab.vms.injectNmi({ environmentId }));
  expect(lab.hypervisor.host('host1').get(vm)?.state).toBe('stopped');
  for (const call of ['reset', 'screenshot'] as const) {
    const calling: Promise<unknown> = lab.vms[call]({ environmentId });
    await expect(lab.clock.runUntil(calling)).rejects.toMatchObject({
      code: 'conflict',
      details: { state: 'stopped' },
    });
  }
  lab.hypervisor.host('host1').destroy(vm);
  await expect(lab.clock.runUntil(lab.vms.injectNmi({ deploymentId: id }))).rejects.toMatchObject({
    code: 'process-lost',
  });
  const outcomes = (await told(lab)).map(({ name, data }) => [name, 'error' in data ? data.error?.code : undefined]);
  expect(outcomes).toEqual([
    ['vm:nmi', undefined],
    ['vm:reset', 'conflict'],
    ['vm:screenshot', 'conflict'],
    ['vm:nmi', 'process-lost'],
  ]);
});

it('a VM that is deployed with a display shows it in a screenshot; one without says how to get one', async () => {
  const { lab, id } = await deployed(true);
  await using _lab = lab;
  const { mimeType, image } = await lab.clock.runUntil(lab.vms.screenshot({ deploymentId: id }));
  expect(mimeType).toBe('image/x-portable-pixmap');
  expect(Buffer.from(image).toString('latin1')).toMatch(/^P6\n1 1\n/);
  expect(await told(lab)).toMatchObject([{ name: 'vm:screenshot', subject: id }]);

  // It is kept with the deployment: what takes its place has one, too.
  const again = await lab.deployments.retryDeployment(id);
  await lab.clock.runUntil(lab.deployments.waitForDeployment(again.id));
  await lab.clock.runUntil(lab.vms.screenshot({ deploymentId: again.id }));

  const plain = await deployed();
  await using _plain = plain.lab;
  await expect(plain.lab.clock.runUntil(plain.lab.vms.screenshot({ deploymentId: plain.id }))).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('display') as string,
  });
  const wrong = { artifacts: { latest: true }, vm: { display: 'big' } } as never;
  await expect(lab.deployments.deployToQemu(wrong)).rejects.toMatchObject({
    code: 'invalid-input',
    details: { issues: expect.arrayContaining([{ path: 'vm.display', message: 'must be true or false' }]) as unknown },
  });
});

it('a VM that the lab is booting or testing is not reset unless that is forced; a screenshot harms nobody', async () => {
  const lab = await memoryLab({ repositories, guest: memoryGuests.silent });
  await using _lab = lab;
  await lab.addServer();
  await lab.addHost();
  const environmentConfig = { vm: { display: true } };
  const { id } = await lab.pipelines.createPipeline({ ...kernelPipeline, environmentConfig });
  const booting = async (): Promise<string> => {
    for (;;) {
      await lab.clock.advance(100);
      const { stages } = await lab.pipelines.getPipelineStatus(id);
      const deploy = stages.find(({ name }) => name === 'deploy');
      if (stages.some(({ name, status }) => name === 'boot' && status === 'running')) return deploy?.outputId ?? '';
    }
  };
  const vm = { deploymentId: await booting() };
  await lab.clock.advance(1_000);
  const refused = { code: 'conflict', details: { workId: id, kind: 'pipeline' } };
  await expect(lab.vms.reset(vm)).rejects.toMatchObject(refused);
  await expect(lab.vms.injectNmi(vm)).rejects.toMatchObject(refused);
  expect(await told(lab)).toEqual([]);
  await lab.clock.runUntil(lab.vms.screenshot(vm));
  await lab.clock.runUntil(lab.vms.reset(vm, { force: true }));
  expect((await told(lab)).map(({ name }) => name)).toEqual(['vm:screenshot', 'vm:reset']);
});

it('a VM that is tested is not reset, either', async () => {
  const { lab, id } = await deployed();
  await using _lab = lab;
  const run = await lab.testRuns.runTests(id, { from: 'console', timeoutMs: 60_000 });
  await expect(lab.vms.reset({ deploymentId: id })).rejects.toMatchObject({
    code: 'conflict',
    details: { workId: run.id, kind: 'testrun' },
  });
  await lab.clock.runUntil(lab.testRuns.waitForTestRun(run.id));
  await lab.clock.runUntil(lab.vms.reset({ deploymentId: id }));
});

it('a call for a VM that does not answer ends in time and when it is aborted, and is told as failed', async () => {
  const { lab, id } = await deployed();
  await using _lab = lab;
  const vm = { deploymentId: id };
  lab.shell.host('host1').faults.hang = true;
  const begun = lab.clock.now();
  await expect(lab.clock.runUntil(lab.vms.reset(vm))).rejects.toMatchObject({ code: 'deadline-exceeded' });
  expect(lab.clock.now() - begun).toBeLessThanOrEqual(limits.vmControlTimeoutMs);
  const controller = new AbortController();
  const aborted = lab.vms.reset(vm, { signal: controller.signal });
  controller.abort();
  await expect(lab.clock.runUntil(aborted)).rejects.toMatchObject({ code: 'aborted' });
  expect(await told(lab)).toMatchObject([
    { data: { error: { code: 'deadline-exceeded' } } },
    { data: { error: { code: 'aborted' } } },
  ]);
});

it('names what is no VM: unknown ids, a board, an environment that was given back', async () => {
  const { lab, id, environmentId } = await deployed();
  await using _lab = lab;
  await expect(lab.vms.reset({ deploymentId: 'none' })).rejects.toMatchObject({ code: 'not-found' });
  await expect(lab.vms.reset({ environmentId: 'none' })).rejects.toMatchObject({ code: 'not-found' });
  await lab.addBoard();
  const { buildId = '' } = await lab.deployments.getDeploymentStatus(id);
  const onBoard = await deployToBoard(lab, buildId);
  await expect(lab.vms.reset({ deploymentId: onBoard.id })).rejects.toMatchObject({ code: 'unsupported' });
  await lab.clock.runUntil(lab.environments.release(environmentId));
  await expect(lab.vms.screenshot({ environmentId })).rejects.toMatchObject({ code: 'conflict' });
  expect(await told(lab)).toEqual([]);
});
