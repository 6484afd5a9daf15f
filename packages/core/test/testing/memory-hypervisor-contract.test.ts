import type { ShellSession } from '../../src/contracts/shell.ts';
import { hypervisorContract, memoryHypervisor, tinyGuest } from '../../src/testing/index.ts';

const target = { host: { hostname: 'vmhost', username: 'lab' }, workspace: '/srv/bringup' };
// The in-memory hypervisor asks the shell for nothing when it is told which files exist.
const noShell = {} as ShellSession;

hypervisorContract({
  name: 'memory',
  setup: async () => {
    const connector = memoryHypervisor({ fileExists: (path) => path === '/srv/kernel' });
    return {
      connect: () => connector.connect(target, noShell),
      spec: { architecture: 'x86_64', cpus: 1, memoryMb: 16, kernel: '/srv/kernel' },
      greeting: tinyGuest.greeting,
      quit: tinyGuest.quit,
      dispose: () => connector[Symbol.asyncDispose](),
    };
  },
});
