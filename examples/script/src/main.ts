// Builds a BSP, boots it in a VM, runs its tests and prints a summary, step by step, on this machine.
// Usage: node src/main.ts [SOURCE]; its state is in .bringup. Wants gcc, make and qemu-system-x86.
import { resolve } from 'node:path';
import { argv } from 'node:process';
import { createLab, fileArtifactStorage, localQemu, localShell, type Lab, type StoredError } from '@bringup/core';

const source = resolve(argv[2] ?? `${import.meta.dirname}/../../quickstart/bsp`);
const workspace = resolve('.bringup');

await using lab = await createLab({
  artifacts: fileArtifactStorage({ path: `${workspace}/artifacts` }),
  connectors: { shell: localShell(), hypervisor: localQemu() },
});
const summary: string[] = [];
try {
  await registerThisMachine(lab);
  const buildId = await build(lab);
  const deploymentId = await deploy(lab, buildId);
  await test(lab, deploymentId);
  await lab.deployments.releaseDeployment(deploymentId);
} catch (error) {
  summary.push(`failed      ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
console.log(summary.join('\n'));

async function registerThisMachine({ buildServers, hosts, health }: Lab): Promise<void> {
  // There is no other: that it is busy must keep nothing waiting.
  for (const kind of ['build_server', 'host'] as const)
    await health.setHealthThresholds({ kind }, { maxUtilizationPercent: null });
  const server = await buildServers.registerServer({ hostname: 'localhost', workspace });
  const host = await hosts.registerHost({ hostname: 'localhost', workspace });
  summary.push(
    `server      ${server.totalCpuCores} cores, builds for ${server.supportedArchitectures.join(', ')}`,
    `host        ${host.kvmEnabled ? 'with' : 'without'} KVM, runs ${host.vmArchitectures.join(', ')}`,
  );
}

async function build({ builds }: Lab): Promise<string> {
  const { id } = await builds.submitBuild({
    sourceRepository: source,
    targetArchitecture: 'x86_64',
    buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'build/*.elf' }] },
    minMemoryMb: 256,
    minStorageGb: 1,
  });
  const { error, artifacts, durationSeconds } = await builds.waitForBuild(id, { timeoutMs: 300_000 });
  if (error !== undefined) fail(error);
  const image = artifacts.find(({ artifactType }) => artifactType === 'kernel_image');
  summary.push(`build       ${image?.filename}, ${image?.sizeBytes} bytes, in ${durationSeconds} s`);
  return id;
}

async function deploy({ deployments }: Lab, buildId: string): Promise<string> {
  const { id } = await deployments.deployToQemu({ artifacts: { buildId }, vm: { memoryMb: 128 } });
  const { error, boot } = await deployments.waitForDeployment(id, { timeoutMs: 120_000 });
  if (error !== undefined) fail(error);
  summary.push(`boot        ${boot?.outcome} after ${boot?.durationMs} ms: ${boot?.excerpt[0]}`);
  return id;
}

async function test({ testRuns }: Lab, deploymentId: string): Promise<void> {
  const { id } = await testRuns.runTests(deploymentId, { from: 'console', timeoutMs: 60_000 });
  const { error, results } = await testRuns.waitForTestRun(id);
  summary.push(`tests       ${results?.totals.pass ?? 0} of ${results?.totals.total ?? 0} passed`);
  if (error !== undefined) fail(error);
}

function fail({ code, message }: StoredError): never {
  throw new Error(`${message} (${code})`);
}
