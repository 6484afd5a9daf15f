import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ShellSession } from '../../src/contracts/shell.ts';
import { localQemu } from '../../src/local/qemu.ts';
import { hypervisorContract, tinyGuest, tinyGuestImage } from '../../src/testing/index.ts';

// Local QEMU needs no shell.
const noShell = {} as ShellSession;

hypervisorContract({
  name: 'local QEMU',
  setup: async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'qemu-contract-'));
    const kernel = join(scratch, 'tiny-guest');
    await writeFile(kernel, tinyGuestImage());
    const connector = localQemu();
    const target = { host: { hostname: 'localhost', username: 'lab' }, workspace: join(scratch, 'vms') };
    return {
      connect: () => connector.connect(target, noShell),
      spec: { architecture: 'x86_64', cpus: 1, memoryMb: 16, kernel },
      greeting: tinyGuest.greeting,
      quit: tinyGuest.quit,
      dispose: async () => {
        await connector[Symbol.asyncDispose]();
        await rm(scratch, { recursive: true, force: true });
      },
    };
  },
});
