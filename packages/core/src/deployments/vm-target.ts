import { Cleanup } from '../cleanup.ts';
import type { Console } from '../contracts/console.ts';
import type { Hypervisor, VmSpec } from '../contracts/hypervisor.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isVmStuck } from '../local/vm-spec.ts';
import type { Artifact } from '../model/artifact.ts';
import type { VerificationCheck } from '../model/deployment.ts';
import { vmRequest } from '../selection/requests.ts';
import type { WorkContext } from '../work/handler.ts';
import { Reconnects, SessionHolder } from '../work/session.ts';
import { filesFolder } from './host-files.ts';
import { raiseLeftBehind, type LeftBehind } from './left-behind.ts';
import { deploymentRecord, placedVm, vmNames, vmOf, type DeploymentInput, type PlacedDeployment } from './records.ts';
import type { DeploymentServices } from './services.ts';
import type {
  BootCheckpoint,
  DeploymentCheckpoint,
  DeploymentPlan,
  DeploymentTarget,
  HeardConsole,
  HearOptions,
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
  readonly hasConsoleHistory = true;
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
    const spec = vmSpec(vmNames(context.id)[0], input, plan.files, paths, {
      lab: this.#services.labId,
      deployment: context.id,
      reservation: held.reservationId,
    });
    const reconnects = new Reconnects(context.clock, signal);
    for (;;) {
      try {
        await using session = await this.#services.connectors.openHost(host, { signal });
        await this.#createVm(context, input, session.hypervisor, { spec, hostId: host.id });
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
    place: { readonly spec: VmSpec; readonly hostId: string },
  ): Promise<void> {
    const { inEnvironment } = input;
    if (inEnvironment !== undefined) await this.#clear(context, hypervisor, inEnvironment, place.hostId);
    await this.#createAnew(context, hypervisor, { deploymentId: context.id, ...place });
  }

  /** What ran in the environment before makes room. */
  async #clear(
    context: WorkContext<DeploymentCheckpoint>,
    hypervisor: Hypervisor,
    environmentId: string,
    hostId: string,
  ): Promise<void> {
    // In a transaction, so that it is still this deployment's turn.
    const others = await context.transaction(({ db }) =>
      db
        .selectFrom('deployments')
        .select(['id', 'vm'])
        .where('environment_id', '=', environmentId)
        .where('id', '!=', context.id)
        .execute(),
    );
    for (const other of others) {
      const vm = vmOf(other)?.name;
      if (vm !== undefined) await this.#end(context, hypervisor, { deploymentId: other.id, hostId, vm });
    }
  }

  /**
   * A new VM in place of the deployment's own, which is from a run that died, or from an earlier boot; under another name when
   * the hypervisor does not let go of that one.
   */
  async #createAnew(
    context: WorkContext<unknown>,
    hypervisor: Hypervisor,
    { deploymentId, hostId, spec }: { readonly deploymentId: string; readonly hostId: string; readonly spec: VmSpec },
  ): Promise<void> {
    const names = vmNames(deploymentId);
    const { vm: known } = await deploymentRecord(this.#services.store, deploymentId);
    const from = Math.max(0, names.indexOf(known?.name ?? ''));
    let stuck: BringupError | undefined;
    for (const vm of names.slice(from)) {
      const named = { ...spec, name: vm };
      // Stored before there is a VM: whoever has to give it back must know of it.
      await context.transaction(({ db }) =>
        db
          .updateTable('deployments')
          .set({ vm: JSON.stringify(named) })
          .where('id', '=', deploymentId)
          .execute(),
      );
      const left = { deploymentId, hostId, vm };
      // Where none was seen none is ended: a process that stands still before it ends one would end what was made meanwhile.
      const seen = await hypervisor.getVm(vm, { signal: context.signal });
      stuck = seen && (await this.#end(context, hypervisor, left));
      if (stuck !== undefined) continue;
      await context.guard();
      try {
        await hypervisor.createVm(named, { signal: context.signal });
      } catch (error) {
        if (!isBringupError(error, 'conflict')) throw error;
        // What takes the name is half a VM that can't be seen, or that of whoever has this deployment by now.
        stuck = await this.#end(context, hypervisor, left);
        if (stuck !== undefined) continue;
        await context.guard();
        await hypervisor.createVm(named, { signal: context.signal });
      }
      return;
    }
    throw stuck;
  }

  /**
   * Ends the VM of that name. One that the hypervisor does not let go of takes nothing but its name: a person is told, and the
   * sweep goes on trying.
   * @returns why it does not, if so.
   */
  async #end(
    context: WorkContext<unknown>,
    hypervisor: Hypervisor,
    left: Omit<LeftBehind, 'message'>,
  ): Promise<BringupError | undefined> {
    // Whatever was seen of it may have been seen by a process that stood still since, and be its successor's.
    await context.guard();
    try {
      await hypervisor.destroyVm(left.vm, { signal: context.signal, timeoutMs: limits.vmRemovalTimeoutMs });
      return undefined;
    } catch (error) {
      if (!isVmStuck(error)) throw error;
      const { message } = error;
      await context.transaction((tx) => raiseLeftBehind(tx, { ...left, message }, this.#services));
      context.logger.warn({ error, deployment: left.deploymentId, host: left.hostId }, 'a VM is left behind');
      return error;
    }
  }

  async dismantle(context: WorkContext<unknown>, { targetId, vm }: ProvisionedPlace): Promise<void> {
    const { signal } = context;
    if (vm === undefined) return;
    const host = await this.#services.host(targetId);
    await using session = await this.#services.connectors.openHost(host, { signal });
    await context.guard();
    await session.hypervisor.destroyVm(vm, { signal, timeoutMs: limits.vmRemovalTimeoutMs });
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
    const placed = await this.#vm(deployment);
    await using session = await this.#services.connectors.openHost(placed.host, { signal });
    const { hypervisor } = session;
    const state = (await hypervisor.getVm(placed.vm.name, { signal }))?.state;
    let started = context.checkpoint;
    if (started === undefined) {
      // A fresh boot wants a fresh VM; a boot that is taken over the one that runs.
      if (state !== 'paused') {
        const place = { deploymentId: deployment.id, hostId: placed.host.id, spec: placed.vm };
        await context.guard();
        await this.#createAnew(context, hypervisor, place);
      }
      started = { startedAt: context.clock.now(), logStart: 0 };
      await remember(started);
    } else if (state === undefined) throw vanished(placed.vm);
    const { name } = (await this.#vm(deployment)).vm;
    const now = (await hypervisor.getVm(name, { signal }))?.state;
    await context.guard();
    if (now === 'paused') await hypervisor.startVm(name, { signal });
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

  async hear(
    _context: unknown,
    deployment: PlacedDeployment,
    { heard, ...options }: HearOptions,
  ): Promise<HeardConsole> {
    return { console: await this.openConsole(deployment, heard, options), anew: false };
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

  /** As it is now: a boot may have given its VM another name. */
  async #vm({ id }: PlacedDeployment) {
    const { targetId, vm } = await placedVm(this.#services.store, id);
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
