import type { Hypervisor, VmSpec } from '../contracts/hypervisor.ts';
import { fromStoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BootReport, QemuDeploymentRequest } from '../model/deployment.ts';
import { extend } from '../pool/reservations.ts';
import { giveUpWaiting, obtain } from '../selection/obtain.ts';
import { vmRequest } from '../selection/requests.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import { Reconnects, SessionHolder } from '../work/session.ts';
import { vmName } from './records.ts';
import type { BootInput, BootOutput, DeploymentServices } from './services.ts';
import { transferArtifacts } from './transfer.ts';
import { pickBootFiles, vmDefaults, vmSpec } from './vm.ts';

/** A deployment as it is queued. */
export interface DeploymentInput extends QemuDeploymentRequest {
  /** Whether the boot belongs to it; in a pipeline it is a stage of its own. */
  readonly withBoot: boolean;
  /** The work that holds the environment, if not the deployment itself. */
  readonly holder?: string;
}

interface Checkpoint {
  readonly hostId: string;
  readonly reservationId: string;
  readonly created?: boolean;
}

/** What is deployed: files of a build, and what was added to them. */
interface Chosen {
  readonly build: { readonly buildId: string; readonly commitHash: string | undefined };
  readonly files: ReturnType<typeof pickBootFiles>;
}

/** What a finished deployment gives. */
export interface DeploymentOutput {
  readonly vmName: string;
  readonly boot?: BootReport;
}

/** Artifacts onto a host and into a VM, which is created paused; then, if asked for, its boot. */
export class DeploymentHandler implements WorkHandler<DeploymentInput, DeploymentOutput, Checkpoint> {
  readonly kind = 'deployment';
  readonly #services: DeploymentServices;

  constructor(services: DeploymentServices) {
    this.#services = services;
  }

  async run(context: WorkContext<Checkpoint>, input: DeploymentInput): Promise<WorkResult<DeploymentOutput>> {
    const chosen = await this.#choose(input);
    const held = context.checkpoint ?? (await this.#reserve(context, input, chosen));
    if (held.created !== true) await this.#create(context, input, chosen, held);
    const output: DeploymentOutput = { vmName: vmName(context.id) };
    if (!input.withBoot) return { output };

    await context.phase('booting');
    const boot = await context.child<BootInput, BootOutput>('boot', 'boot', {
      deploymentId: context.id,
      ...(input.boot !== undefined && { boot: input.boot }),
    });
    if (boot.error !== undefined) throw fromStoredError(boot.error);
    const keepMs = input.keepMs ?? limits.deploymentKeepMs;
    return {
      output: { ...output, ...(boot.output !== undefined && { boot: boot.output.report }) },
      commit: (tx) => extend(tx, held.reservationId, context.clock.now() + keepMs, context.clock.now() + keepMs),
    };
  }

  async #choose(input: DeploymentInput): Promise<Chosen> {
    const { artifacts } = this.#services;
    const build = await artifacts.select(input.artifacts);
    const extra = await Promise.all((input.extraArtifactIds ?? []).map((id) => artifacts.getArtifact(id)));
    const files = pickBootFiles(build.artifacts, extra, input.vm ?? {}, input.architecture);
    return { build, files };
  }

  async #reserve(
    context: WorkContext<Checkpoint>,
    input: DeploymentInput,
    { build, files }: Chosen,
  ): Promise<Checkpoint> {
    const wanted = vmRequest({
      architecture: files.architecture,
      minCpuCores: input.vm?.cpus ?? vmDefaults.cpus,
      minMemoryMb: input.vm?.memoryMb ?? vmDefaults.memoryMb,
      requireKvm: input.vm?.accelerator === 'kvm',
      ...(input.hostId !== undefined && { hostId: input.hostId }),
      ...(input.requiredLabels !== undefined && { requiredLabels: input.requiredLabels }),
    });
    const used = [files.kernel, files.initrd, files.deviceTree, files.rootfs].flatMap((file) => file?.id ?? []);
    return obtain(context, this.#services.selection, {
      request: wanted,
      holder: input.holder ?? context.id,
      expectedMs: input.keepMs ?? limits.deploymentKeepMs,
      record: async (tx, { id: reservationId, resourceId: hostId }) => {
        const held = { hostId, reservationId };
        await context.saveIn(tx, held);
        await tx.db
          .updateTable('deployments')
          .set({
            target_id: hostId,
            reservation_id: reservationId,
            build_id: build.buildId,
            commit_hash: build.commitHash ?? null,
            artifact_ids: JSON.stringify(used),
          })
          .where('id', '=', context.id)
          .execute();
        return held;
      },
    });
  }

  async #create(
    context: WorkContext<Checkpoint>,
    input: DeploymentInput,
    { files }: Chosen,
    held: Checkpoint,
  ): Promise<void> {
    const { signal } = context;
    const host = await this.#services.host(held.hostId);
    await context.phase('transferring');
    await using sessions = new SessionHolder(() => this.#services.connectors.openShell(host, { signal }), {
      clock: context.clock,
      signal,
    });
    const paths = await transferArtifacts({
      sessions,
      repository: this.#services.artifacts,
      folder: `${host.workspace}/files`,
      artifacts: [files.kernel, files.initrd, files.deviceTree, files.rootfs].filter((file) => file !== undefined),
      signal,
      onProgress: ({ filename }, progress) =>
        this.#services.onTransfer({ workId: context.id, filename, direction: 'upload', ...progress }),
    });
    const spec = vmSpec(vmName(context.id), input, files, paths, {
      deployment: context.id,
      reservation: held.reservationId,
    });
    const reconnects = new Reconnects(context.clock, signal);
    for (;;) {
      try {
        await using session = await this.#services.connectors.openHost(host, { signal });
        await this.#createVm(context, held, session.hypervisor, spec);
        return;
      } catch (error) {
        await reconnects.pauseAfter(error);
      }
    }
  }

  async #createVm(
    context: WorkContext<Checkpoint>,
    held: Checkpoint,
    hypervisor: Hypervisor,
    spec: VmSpec,
  ): Promise<void> {
    const { signal } = context;
    // Stored before there is a VM: whoever has to give it back must know of it.
    await context.transaction(async ({ db }) => {
      const vm = JSON.stringify(spec);
      await db.updateTable('deployments').set({ vm }).where('id', '=', context.id).execute();
    });
    // A VM of that name is our own from a run that died: whatever state it is in, it is not wanted.
    await hypervisor.destroyVm(spec.name, { signal });
    await hypervisor.createVm(spec, { signal });
    await context.save({ ...held, created: true });
  }

  /** Gives back what was taken, patiently: a host that is out of reach just now must not keep the VM. */
  async cleanUp(context: WorkContext<Checkpoint>): Promise<void> {
    if (context.checkpoint === undefined) {
      await context.transaction((tx) => giveUpWaiting(tx, context.id, context.clock.now()));
      return;
    }
    await context.child('release', 'release', { deploymentId: context.id }, { evenIfCancelled: true });
  }
}
