import { Cleanup } from '../cleanup.ts';
import type { Console } from '../contracts/console.ts';
import type { Hypervisor, VmSpec } from '../contracts/hypervisor.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Artifact } from '../model/artifact.ts';
import type { VerificationCheck } from '../model/deployment.ts';
import { vmRequest } from '../selection/requests.ts';
import type { WorkContext } from '../work/handler.ts';
import { Reconnects, SessionHolder } from '../work/session.ts';
import { filesFolder } from './host-files.ts';
import { vmName, withVm, type DeploymentInput, type PlacedDeployment } from './records.ts';
import type { DeploymentServices } from './services.ts';
import type {
  BootCheckpoint,
  DeploymentCheckpoint,
  DeploymentPlan,
  DeploymentTarget,
  HeldTarget,
  ProvisionedPlace,
  StartedBoot,
} from './target.ts';
import { transferArtifacts } from './transfer.ts';
import { pickBootFiles, vmDefaults, vmSpec, type BootFiles } from './vm.ts';

type VmInput = Extract<DeploymentInput, { readonly targetType: 'qemu_host' }>;

interface VmPlan extends DeploymentPlan {
  readonly files: BootFiles & Pick<DeploymentPlan, 'architecture'>;
}

/** VMs: files are brought to the host, and a VM of them is created, paused. */
export class VmTarget implements DeploymentTarget {
  readonly type = 'qemu_host';
  readonly #services: DeploymentServices;

  constructor(services: DeploymentServices) {
    this.#services = services;
  }

  plan(
    input: VmInput,
    chosen: { readonly buildId: string; readonly commitHash: string | undefined },
    built: readonly Artifact[],
    extra: readonly Artifact[],
  ): VmPlan {
    const files = pickBootFiles(built, extra, input.vm ?? {}, input.architecture);
    const request = vmRequest({
      ...input,
      architecture: files.architecture,
      minCpuCores: input.vm?.cpus ?? vmDefaults.cpus,
      minMemoryMb: input.vm?.memoryMb ?? vmDefaults.memoryMb,
      requireKvm: input.vm?.accelerator === 'kvm',
    });
    const artifacts = [files.kernel, files.initrd, files.deviceTree, files.rootfs].filter((file) => file !== undefined);
    return { ...chosen, architecture: files.architecture, artifacts, request, files };
  }

  async provision(
    context: WorkContext<DeploymentCheckpoint>,
    input: VmInput,
    plan: VmPlan,
    held: HeldTarget,
  ): Promise<void> {
    const { signal } = context;
    const host = await this.#services.host(held.targetId);
    await context.phase('transferring');
    await using sessions = new SessionHolder(() => this.#services.connectors.openShell(host, { signal }), {
      clock: context.clock,
      signal,
    });
    const paths = await transferArtifacts({
      sessions,
      repository: this.#services.artifacts,
      folder: filesFolder(host),
      artifacts: plan.artifacts,
      signal,
      onProgress: ({ filename }, progress) =>
        this.#services.onTransfer({ workId: context.id, filename, direction: 'upload', ...progress }),
    });
    const spec = vmSpec(vmName(context.id), input, plan.files, paths, {
      lab: this.#services.labId,
      deployment: context.id,
      reservation: held.reservationId,
    });
    const reconnects = new Reconnects(context.clock, signal);
    for (;;) {
      try {
        await using session = await this.#services.connectors.openHost(host, { signal });
        await this.#createVm(context, input, session.hypervisor, spec);
        return;
      } catch (error) {
        await reconnects.pauseAfter(error);
      }
    }
  }

  async #createVm(
    context: WorkContext<DeploymentCheckpoint>,
    input: VmInput,
    hypervisor: Hypervisor,
    spec: VmSpec,
  ): Promise<void> {
    const { signal } = context;
    // Stored before there is a VM: whoever has to give it back must know of it.
    const others = await context.transaction(async ({ db }) => {
      await db
        .updateTable('deployments')
        .set({ vm: JSON.stringify(spec) })
        .where('id', '=', context.id)
        .execute();
      if (input.inEnvironment === undefined) return [];
      return db
        .selectFrom('deployments')
        .select('id')
        .where('environment_id', '=', input.inEnvironment)
        .where('vm', 'is not', null)
        .execute();
    });
    // What ran in the environment before makes room; one of our own name is from a run that died.
    for (const { id } of others) await hypervisor.destroyVm(vmName(id), { signal });
    await hypervisor.destroyVm(spec.name, { signal });
    await context.guard();
    await hypervisor.createVm(spec, { signal });
  }

  async dismantle(context: WorkContext<unknown>, { deploymentId, targetId, begun }: ProvisionedPlace): Promise<void> {
    const { signal } = context;
    if (!begun) return;
    const host = await this.#services.host(targetId);
    await using session = await this.#services.connectors.openHost(host, { signal });
    await context.guard();
    await session.hypervisor.destroyVm(vmName(deploymentId), { signal });
  }

  async judgedBy(): Promise<'console'> {
    return 'console';
  }

  async startBoot(
    context: WorkContext<BootCheckpoint>,
    deployment: PlacedDeployment,
    _log: unknown,
    remember: (started: BootCheckpoint) => Promise<void>,
  ): Promise<StartedBoot> {
    const { signal } = context;
    const { host, vm } = await this.#vm(deployment);
    await using session = await this.#services.connectors.openHost(host, { signal });
    const { hypervisor } = session;
    const state = (await hypervisor.getVm(vm.name, { signal }))?.state;
    let started = context.checkpoint;
    if (started === undefined) {
      // A fresh boot wants a fresh VM; a boot that is taken over the one that runs.
      if (state !== 'paused') {
        await context.guard();
        await hypervisor.destroyVm(vm.name, { signal });
        await hypervisor.createVm(vm, { signal });
      }
      started = { startedAt: context.clock.now(), logStart: 0 };
      await remember(started);
    } else if (state === undefined) throw vanished(vm);
    const now = (await hypervisor.getVm(vm.name, { signal }))?.state;
    await context.guard();
    if (now === 'paused') await hypervisor.startVm(vm.name, { signal });
    return started;
  }

  async openConsole(deployment: PlacedDeployment, heard: number, options: CallOptions): Promise<Console> {
    const { host, vm } = await this.#vm(deployment);
    await using stack = new Cleanup();
    const { hypervisor } = stack.use(await this.#services.connectors.openHost(host, options));
    if ((await hypervisor.getVm(vm.name, options)) === undefined) throw vanished(vm);
    const console = stack.use(await hypervisor.openConsole(vm.name, { ...options, offset: heard }));
    const owned = stack.move();
    return {
      output: console.output,
      write: (data, writeOptions) => console.write(data, writeOptions),
      ...(console.sendBreak !== undefined && { sendBreak: () => console.sendBreak?.() ?? Promise.resolve() }),
      [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
    };
  }

  async bootId(): Promise<undefined> {
    return undefined;
  }

  async verify(
    deployment: PlacedDeployment,
    _bootId: string | undefined,
    options: CallOptions,
  ): Promise<{ readonly checks: readonly VerificationCheck[] }> {
    const { host, vm } = await this.#vm(deployment);
    await using session = await this.#services.connectors.openHost(host, options);
    const found = await session.hypervisor.getVm(vm.name, { timeoutMs: limits.hypervisorCallTimeoutMs, ...options });
    const ours = found?.state === 'running' && found.tags['deployment'] === deployment.id;
    const message =
      found === undefined
        ? `the VM ${vm.name} is gone`
        : ours
          ? `the VM ${vm.name} runs`
          : `the VM ${vm.name} is ${found.state} and has the tag deployment=${found.tags['deployment'] ?? ''}`;
    return { checks: [{ name: 'vm', outcome: ours ? 'passed' : 'failed', message }] };
  }

  async #vm(deployment: PlacedDeployment) {
    const { targetId, vm } = withVm(deployment);
    return { host: await this.#services.host(targetId), vm };
  }
}

/** The error of a VM that is not on its host any more. */
export function vanished(vm: VmSpec): BringupError {
  return new BringupError('process-lost', `the VM ${vm.name} vanished from its host`, {
    retryable: true,
    details: { vm: vm.name },
  });
}

/** The error of a VM that could not be taken back. */
export function vmLeftBehind({ deploymentId, targetId }: ProvisionedPlace, cause: unknown): BringupError {
  const vm = vmName(deploymentId);
  return new BringupError(
    'hypervisor-failed',
    isBringupError(cause, 'not-found')
      ? `host ${targetId} of the VM ${vm} is not in the pool any more; remove the VM by hand`
      : `the VM ${vm} could not be removed from host ${targetId} in ${limits.releaseAttempts} tries; remove it by hand`,
    { cause, details: { vm, hostId: targetId, deploymentId } },
  );
}
