import { once } from 'node:events';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { isBringupError } from '@bringup/core';
import type { ForwardTarget, ShellSession } from '@bringup/core';
import { ConsoleReader, tinyGuest } from '@bringup/core/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { libvirt } from '../../src/index.ts';
import { qcow2Overlay } from '../../src/qcow2.ts';
import { startLocalHost } from './host.ts';
import type { LocalHost } from './host.ts';

let host: LocalHost;
beforeAll(async () => {
  host = await startLocalHost();
});
afterAll(() => host[Symbol.asyncDispose]());

const foreign = `<domain type='qemu'><name>NAME</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><serial type='pty'/></devices></domain>`;

async function defineForeign(name: string): Promise<void> {
  const path = join(host.daemon.workspace, `${name}.xml`);
  await writeFile(path, foreign.replace('NAME', name));
  await host.virsh('define', path);
}

describe('a VM of somebody else', () => {
  test('is listed without tags, is not destroyed, and has no console history', async () => {
    await defineForeign('theirs');
    await host.virsh('start', 'theirs', '--paused');
    await using hypervisor = await host.connect();
    expect(await hypervisor.listVms()).toContainEqual({ name: 'theirs', state: 'paused', tags: {} });
    await expect(hypervisor.destroyVm('theirs')).rejects.toMatchObject({ code: 'conflict' });
    await expect(hypervisor.openConsole('theirs')).rejects.toMatchObject({ code: 'console-history-lost' });
    expect(await host.virsh('domstate', 'theirs')).toContain('paused');
    await host.virsh('destroy', 'theirs');
  });

  test('a hundred of them are listed with the states that virsh shows', async () => {
    for (let index = 0; index < 100; index += 1) await defineForeign(`many-${index}`);
    await using hypervisor = await host.connect();
    const stopped = (await hypervisor.listVms()).filter(
      ({ name, state }) => name.startsWith('many-') && state === 'stopped',
    );
    expect(stopped).toHaveLength(100);
  });
});

describe('a root file system', () => {
  test.for(['raw', 'qcow2'] as const)(
    'in a %s image serves several VMs at once and is never written to',
    async (format) => {
      const path = join(host.daemon.workspace, `root.${format}`);
      await writeFile(path, format === 'raw' ? Buffer.alloc(1024 * 1024, 1) : emptyQcow2(1024 * 1024));
      const before = await readFile(path);
      await using hypervisor = await host.connect();
      for (const name of [`disk-1-${format}`, `disk-2-${format}`]) {
        await hypervisor.createVm(host.spec(name, { rootfs: { path, format } }));
        await hypervisor.startVm(name);
      }
      // A write as the guest's disk makes it, without a guest that has a driver for it.
      const device = '/machine/peripheral/virtio-disk0/virtio-backend';
      await host.virsh(
        'qemu-monitor-command',
        '--hmp',
        `disk-1-${format}`,
        `qemu-io -d ${device} "write -P 7 0 65536"`,
      );
      const overlay = (name: string): Promise<Buffer> =>
        readFile(join(host.daemon.workspace, 'vms', name, 'rootfs.qcow2'));
      expect((await overlay(`disk-1-${format}`)).includes(Buffer.alloc(65_536, 7))).toBe(true);
      expect((await overlay(`disk-2-${format}`)).includes(Buffer.alloc(65_536, 7))).toBe(false);
      for (const name of [`disk-1-${format}`, `disk-2-${format}`]) await hypervisor.destroyVm(name);
      expect(Buffer.compare(await readFile(path), before)).toBe(0);
    },
  );

  test('that lies over a file of the host is refused, so that no guest reads it', async () => {
    const [path, secret] = [join(host.daemon.workspace, 'over.qcow2'), join(host.daemon.workspace, 'secret')];
    await writeFile(secret, Buffer.alloc(4096, 's'));
    await writeFile(path, qcow2Overlay(secret, 'raw', 4096));
    await using hypervisor = await host.connect();
    await expect(hypervisor.createVm(host.spec('over', { rootfs: { path, format: 'qcow2' } }))).rejects.toMatchObject({
      code: 'hypervisor-failed',
      message: expect.stringContaining('backing file'),
    });
    expect(await hypervisor.getVm('over')).toBeUndefined();
  });

  test('that is no image of its format is refused, and nothing is left of the VM', async () => {
    const path = join(host.daemon.workspace, 'not-an-image');
    await writeFile(path, 'text');
    await using hypervisor = await host.connect();
    await expect(
      hypervisor.createVm(host.spec('bad-disk', { rootfs: { path, format: 'qcow2' } })),
    ).rejects.toMatchObject({ code: 'hypervisor-failed' });
    expect(await hypervisor.getVm('bad-disk')).toBeUndefined();
    await expect(stat(join(host.daemon.workspace, 'vms/bad-disk'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

test('KVM is reported exactly where a guest runs under it', async () => {
  await using hypervisor = await host.connect();
  const { kvm } = await hypervisor.capabilities();
  const created = await hypervisor.createVm(host.spec('kvm', { accelerator: 'kvm' })).then(
    () => true,
    (error: unknown) => !isBringupError(error, 'unsupported'),
  );
  expect(created).toBe(kvm);
  if (!kvm) return;
  const reader = new ConsoleReader(await hypervisor.openConsole('kvm'));
  await hypervisor.startVm('kvm');
  await reader.until(tinyGuest.greeting);
  await hypervisor.destroyVm('kvm');
});

test('destroying a VM leaves nothing of it on the host', async () => {
  await using hypervisor = await host.connect();
  await hypervisor.createVm(host.spec('gone'));
  const folder = join(host.daemon.workspace, 'vms/gone');
  expect((await stat(folder)).isDirectory()).toBe(true);
  await hypervisor.destroyVm('gone');
  await expect(stat(folder)).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await host.virsh('list', '--all', '--name')).not.toContain('gone');
});

test('a host without a daemon says what is missing', async () => {
  await using connector = libvirt({ socketPath: join(host.daemon.workspace, 'no-such-sock') });
  const target = { host: { hostname: 'localhost', username: 'root' }, workspace: host.daemon.workspace };
  await expect(connector.connect(target, host.shell)).rejects.toMatchObject({ code: 'dependency-missing' });
});

test('the daemon is found by the sockets of modular and of monolithic daemons, past one that is stale', async () => {
  const folder = join(host.daemon.workspace, '..', 'run');
  // The daemon's folder is at its usual place for itself alone.
  const shell: ShellSession = Object.create(host.shell, {
    forward: {
      value: (target: ForwardTarget) =>
        host.shell.forward(
          'socketPath' in target ? { socketPath: target.socketPath.replace(/^(?:.var)?.run.libvirt/, folder) } : target,
        ),
    },
    exec: { value: host.shell.exec.bind(host.shell) },
  });
  const target = { host: { hostname: 'localhost', username: 'root' }, workspace: host.daemon.workspace };
  const visit = async (): Promise<string> => {
    await using connector = libvirt();
    await using hypervisor = await connector.connect(target, shell);
    await hypervisor.listVms();
    await hypervisor.storage.listPools();
    return (await hypervisor.capabilities()).version;
  };
  const [modular, monolithic] = [join(folder, 'virtqemud-sock'), join(folder, 'libvirt-sock')];
  expect(await visit()).toContain('QEMU');
  const stale = createServer().listen(modular);
  await once(stale, 'listening');
  // Closed behind Node's back, so that it does not remove the file.
  await rename(modular, `${modular}.stale`);
  stale.close();
  await rename(`${modular}.stale`, modular);
  expect(await visit()).toContain('QEMU');
  await rename(monolithic, modular);
  expect(await visit()).toContain('QEMU');
  await rename(modular, monolithic);
});

test('when the daemon dies, every call, console and event loop ends with connection-lost', async () => {
  await using own = await startLocalHost();
  const hypervisor = await own.connect();
  await hypervisor.createVm(own.spec('orphan'));
  const console = await hypervisor.openConsole('orphan');
  const reader = new ConsoleReader(console);
  await hypervisor.startVm('orphan');
  await reader.until('\r\n');
  const events = (async () => {
    for await (const _ of hypervisor.events());
  })();
  const ended = Promise.allSettled([reader.ended, events]);
  await own.daemon.crash();
  for (const result of await ended)
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'connection-lost' } });
  expect(await hypervisor.closed).toMatchObject({ code: 'connection-lost' });
  await expect(hypervisor.listVms()).rejects.toMatchObject({ code: 'connection-lost' });
  await expect(console.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'connection-lost' });
  await hypervisor[Symbol.asyncDispose]();
});

/** An image that lies over nothing. */
function emptyQcow2(sizeBytes: number): Buffer {
  const image = qcow2Overlay('', 'raw', sizeBytes);
  image.writeBigUInt64BE(0n, 8);
  return image;
}
