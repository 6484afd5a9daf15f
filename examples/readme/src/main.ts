import { resolve } from 'node:path';
import { createLab, fileArtifactStorage, localQemu, localShell } from '@bringup/core';

await using lab = await createLab({
  artifacts: fileArtifactStorage({ path: '.bringup/artifacts' }),
  connectors: { shell: localShell(), hypervisor: localQemu() },
  // store: sqlite({ path: '.bringup/lab.db' }) makes it survive restarts and crashes
});
await lab.buildServers.registerServer({ hostname: 'localhost', workspace: resolve('.bringup') });
await lab.hosts.registerHost({ hostname: 'localhost', workspace: resolve('.bringup') });

const { id } = await lab.pipelines.createPipeline({
  sourceRepository: resolve('bsp'), // a git repository with a Makefile
  targetArchitecture: 'x86_64',
  buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'build/*.elf' }] },
  environmentType: 'qemu',
  tests: { from: 'console' }, // KTAP or TAP that the image prints once it has booted
});
for await (const chunk of lab.pipelines.getStageLogs(id, 'boot', { follow: true })) process.stdout.write(chunk);
const { status, errorMessage } = await lab.pipelines.waitForPipeline(id);
console.log(`\n${status} ${errorMessage ?? ''}`);
process.exitCode = status === 'completed' ? 0 : 1;
