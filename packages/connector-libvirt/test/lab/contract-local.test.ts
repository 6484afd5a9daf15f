import { hypervisorContract, tinyGuest } from '@bringup/core/testing';
import { startLocalHost } from './host.ts';

hypervisorContract({
  name: 'libvirt over a local socket',
  async setup() {
    const host = await startLocalHost();
    const { architecture, cpus, memoryMb, kernel } = host.spec('any');
    return {
      connect: host.connect,
      spec: { architecture, cpus, memoryMb, kernel, accelerator: 'tcg' },
      greeting: tinyGuest.greeting,
      quit: tinyGuest.quit,
      async dispose() {
        await host[Symbol.asyncDispose]();
      },
    };
  },
});
