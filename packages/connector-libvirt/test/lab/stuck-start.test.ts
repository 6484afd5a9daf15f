import { isVmStuck } from '@bringup/core';
import { expect, test } from 'vitest';
import { startLocalHost } from './host.ts';

// libvirt itself waits 30 s for whoever is busy with a domain.
test('a VM over whose start libvirtd crashed says what to do, leaves other names alone, and goes once that was done', async () => {
  await using host = await startLocalHost();
  await using before = await host.connect();
  await before.createVm(host.spec('cut-off'));
  await host.daemon.crashInStartOf('cut-off');

  await using session = await host.connect();
  expect(await session.getVm('cut-off')).toMatchObject({ state: 'stopped', tags: { reservation: 'r-1' } });
  const error = await session.destroyVm('cut-off').catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: 'hypervisor-failed',
    message: expect.stringContaining('remove /run/libvirt/qemu/cut-off.xml') as string,
    details: { name: 'cut-off', reason: 'stuck' },
  });
  expect(isVmStuck(error)).toBe(true);
  await session.createVm(host.spec('cut-off-2'));
  await session.startVm('cut-off-2');

  await host.daemon.forget(await host.daemon.starting());
  await using after = await host.connect();
  await after.destroyVm('cut-off');
  expect(await after.listVms()).toMatchObject([{ name: 'cut-off-2', state: 'running' }]);
  await after.destroyVm('cut-off-2');
}, 120_000);
