import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Hypervisor, VmSpec } from '@bringup/core';
import { ConsoleReader, hypervisorContract, tinyGuest, tinyGuestImage } from '@bringup/core/testing';
import { ssh } from '@bringup/connector-ssh';
import { expect, test } from 'vitest';
import { startLibvirtd } from '../../../../test/fixtures/libvirtd.ts';
import { startSshd } from '../../../../test/fixtures/sshd.ts';
import { libvirt } from '../../src/index.ts';

interface RemoteHost extends AsyncDisposable {
  readonly connect: () => Promise<Hypervisor>;
  readonly spec: Omit<VmSpec, 'name' | 'tags' | 'commandLine'>;
}

/** A libvirtd behind an sshd. */
async function startRemoteHost(way: 'forwarded socket' | 'virt-ssh-helper'): Promise<RemoteHost> {
  const daemon = await startLibvirtd();
  // Sessions run where the daemon's socket is at its usual place.
  const enter = `ForceCommand nsenter -t ${daemon.pid} -m sh -c "$SSH_ORIGINAL_COMMAND"`;
  const forwarded = way === 'forwarded socket';
  // What hosts with a strict sshd_config leave: a command with its standard streams.
  const sshd = await startSshd({ config: [...(forwarded ? [] : ['AllowStreamLocalForwarding no']), enter] });
  const kernel = join(daemon.workspace, 'kernel');
  await writeFile(kernel, tinyGuestImage());
  const shells = ssh({ knownHosts: [sshd.knownHosts] });
  const shell = await shells.connect(sshd.target);
  const connector = forwarded ? libvirt({ socketPath: daemon.socketPath }) : libvirt();
  return {
    connect: () => connector.connect({ host: sshd.target, workspace: join(daemon.workspace, 'vms') }, shell),
    spec: { architecture: 'x86_64', cpus: 1, memoryMb: 32, kernel, accelerator: 'tcg' },
    async [Symbol.asyncDispose]() {
      await connector[Symbol.asyncDispose]();
      await shells[Symbol.asyncDispose]();
      await sshd[Symbol.asyncDispose]();
      await daemon[Symbol.asyncDispose]();
    },
  };
}

hypervisorContract({
  name: 'libvirt over SSH, its socket forwarded',
  async setup() {
    const host = await startRemoteHost('forwarded socket');
    const { connect, spec } = host;
    const { greeting, quit } = tinyGuest;
    return { connect, spec, greeting, quit, dispose: async () => host[Symbol.asyncDispose]() };
  },
});

// The same calls through another pipe: what can differ is how bytes come and how it ends.
test('through virt-ssh-helper a VM lives, tells and ends as through a forwarded socket', async () => {
  await using host = await startRemoteHost('virt-ssh-helper');
  const hypervisor = await host.connect();
  const told: string[] = [];
  const events = (async () => {
    for await (const { type } of hypervisor.events()) told.push(type);
  })();
  await hypervisor.createVm({ ...host.spec, name: 'piped', commandLine: 'x', tags: { some: 'tag' } });
  const console = await hypervisor.openConsole('piped');
  const reader = new ConsoleReader(console);
  await hypervisor.startVm('piped');
  await reader.until('\r\n');
  // A console is a second helper; listing goes on beside it.
  const text = '0123456789'.repeat(500);
  await console.write(Buffer.from(text));
  expect(await hypervisor.listVms()).toEqual([{ name: 'piped', state: 'running', tags: { some: 'tag' } }]);
  expect((await reader.until(text)).endsWith(text)).toBe(true);
  await expect(hypervisor.openConsole('piped')).rejects.toMatchObject({ code: 'console-busy' });
  await console.write(Buffer.from(tinyGuest.quit));
  await reader.ended;
  await hypervisor.destroyVm('piped');
  expect(await hypervisor.getVm('piped')).toBeUndefined();
  await hypervisor[Symbol.asyncDispose]();
  await events;
  expect(told).toEqual(['created', 'started', 'stopped', 'removed']);
  expect(await hypervisor.closed).toBeUndefined();
});
