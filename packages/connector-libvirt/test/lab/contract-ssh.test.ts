import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hypervisorContract, tinyGuest, tinyGuestImage } from '@bringup/core/testing';
import { ssh } from '@bringup/connector-ssh';
import { startLibvirtd } from '../../../../test/fixtures/libvirtd.ts';
import { startSshd } from '../../../../test/fixtures/sshd.ts';
import { libvirt } from '../../src/index.ts';

const ways = [
  { name: 'libvirt over SSH, its socket forwarded', config: [] },
  // What hosts with a strict sshd_config leave: a command with its standard streams.
  { name: 'libvirt over SSH, through virt-ssh-helper', config: ['AllowStreamLocalForwarding no'] },
];

for (const { name, config } of ways) {
  hypervisorContract({
    name,
    async setup() {
      const daemon = await startLibvirtd();
      // Sessions run where the daemon's socket is at its usual place.
      const enter = `ForceCommand nsenter -t ${daemon.pid} -m sh -c "$SSH_ORIGINAL_COMMAND"`;
      const sshd = await startSshd({ config: [...config, enter] });
      const kernel = join(daemon.workspace, 'kernel');
      await writeFile(kernel, tinyGuestImage());
      const shells = ssh({ knownHosts: [sshd.knownHosts] });
      const shell = await shells.connect(sshd.target);
      const connector = config.length === 0 ? libvirt({ socketPath: daemon.socketPath }) : libvirt();
      return {
        connect: () => connector.connect({ host: sshd.target, workspace: join(daemon.workspace, 'vms') }, shell),
        spec: { architecture: 'x86_64', cpus: 1, memoryMb: 32, kernel, accelerator: 'tcg' },
        greeting: tinyGuest.greeting,
        quit: tinyGuest.quit,
        async dispose() {
          await connector[Symbol.asyncDispose]();
          await shells[Symbol.asyncDispose]();
          await sshd[Symbol.asyncDispose]();
          await daemon[Symbol.asyncDispose]();
        },
      };
    },
  });
}
