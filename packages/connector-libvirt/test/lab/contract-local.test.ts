import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { localShell } from '@bringup/core';
import { hypervisorContract, tinyGuest, tinyGuestImage } from '@bringup/core/testing';
import { startLibvirtd } from '../../../../test/fixtures/libvirtd.ts';
import { libvirt } from '../../src/index.ts';

hypervisorContract({
  name: 'libvirt over a local socket',
  async setup() {
    const daemon = await startLibvirtd();
    const kernel = join(daemon.workspace, 'kernel');
    await writeFile(kernel, tinyGuestImage());
    const host = { hostname: 'localhost', username: 'root' };
    const shells = localShell();
    const shell = await shells.connect(host);
    const connector = libvirt({ socketPath: daemon.socketPath });
    return {
      connect: () => connector.connect({ host, workspace: join(daemon.workspace, 'vms') }, shell),
      spec: { architecture: 'x86_64', cpus: 1, memoryMb: 32, kernel, accelerator: 'tcg' },
      greeting: tinyGuest.greeting,
      quit: tinyGuest.quit,
      async dispose() {
        await connector[Symbol.asyncDispose]();
        await shells[Symbol.asyncDispose]();
        await daemon[Symbol.asyncDispose]();
      },
    };
  },
});
