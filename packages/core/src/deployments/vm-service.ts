import { withDeadline } from '../async.ts';
import type { Hypervisor, Screenshot } from '../contracts/hypervisor.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { VmAction } from '../model/vm.ts';
import type { Host } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Store } from '../store/store.ts';
import { placedVm, type PlacedVm } from './records.ts';
import { vanished } from './vm-target.ts';
import { workOn } from './work-on.ts';

/** Which VM: that of a deployment, or whatever runs in an environment now. */
export type VmRef = { readonly deploymentId: string } | { readonly environmentId: string };

/** Options of {@link VmService.screenshot}. */
export interface VmCallOptions extends CallOptions {
  /** Who asks, for the event feed. Default `user`. */
  readonly by?: string;
  /** Why, for the event feed. Default `on request`. */
  readonly reason?: string;
}

/** Options of {@link VmService.reset} and {@link VmService.injectNmi}. */
export interface VmControlOptions extends VmCallOptions {
  /** Even while the lab itself deploys, boots or tests there, which that may well make fail. Default false. */
  readonly force?: boolean;
}

/**
 * VMs that were deployed: what their buttons and their display are for. Each action is told in the event feed
 * as `vm:reset`, `vm:nmi` or `vm:screenshot`, one that failed with its error. Calls end after
 * `limits.vmControlTimeoutMs` unless they are given a `timeoutMs`; an abort ends the wait, and what was sent to the
 * host by then may still happen.
 */
export class VmService {
  readonly #options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly connectors: Connectors;
    readonly host: (id: string) => Promise<Host>;
  };

  constructor(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly connectors: Connectors;
    readonly host: (id: string) => Promise<Host>;
  }) {
    this.#options = options;
  }

  /**
   * Presses the reset button: the guest boots anew in the same VM, and says so on the same console. Resolves when
   * the VM was reset, not when it has booted.
   * @throws `not-found`; `conflict` when it does not run, its environment was given back, or the lab works there
   * and it was not forced; `unsupported` for a board, and where the hypervisor can't; `process-lost` when the VM
   * is gone; those of the connectors; `aborted`, `deadline-exceeded`.
   */
  reset(vm: VmRef, options: VmControlOptions = {}): Promise<void> {
    return this.#act('reset', vm, options, (hypervisor, name, call) => hypervisor.resetVm(name, call));
  }

  /**
   * Sends a non-maskable interrupt, on which a kernel can be made to panic and dump.
   * @throws as {@link VmService.reset}; `unsupported` when its machine has none.
   */
  injectNmi(vm: VmRef, options: VmControlOptions = {}): Promise<void> {
    return this.#act('nmi', vm, options, (hypervisor, name, call) => hypervisor.injectNmi(name, call));
  }

  /**
   * What its display shows now, at any time: it disturbs nobody.
   * @throws as {@link VmService.reset}; `unsupported` when it was deployed without `vm.display`.
   */
  screenshot(vm: VmRef, options: VmCallOptions = {}): Promise<Screenshot> {
    const looking = { ...options, force: true };
    return this.#act('screenshot', vm, looking, (hypervisor, name, call) => hypervisor.screenshot(name, call));
  }

  async #act<T>(
    action: VmAction,
    ref: VmRef,
    { by = 'user', reason = 'on request', force = false, ...call }: VmControlOptions,
    act: (hypervisor: Hypervisor, name: string, call: CallOptions) => Promise<T>,
  ): Promise<T> {
    const { store, clock, connectors } = this.#options;
    const placed = await this.#find(ref);
    const { name } = placed.vm;
    if (!force) await this.#checkIdle(placed, action);
    const host = await this.#options.host(placed.targetId);
    const told = { id: placed.id, environmentId: placed.environmentId, hostId: host.id, vm: name, by, reason };
    const bounded = { timeoutMs: limits.vmControlTimeoutMs, ...call };
    const outcome = await withDeadline(clock, `${actions[action]} of the VM ${name}`, bounded, async (signal) => {
      await using session = await connectors.openHost(host, { signal });
      const { state } = (await session.hypervisor.getVm(name, { signal })) ?? {};
      if (state === undefined) throw vanished(placed.vm);
      if (state !== 'running') throw stopped(placed, state);
      return await act(session.hypervisor, name, { signal });
    }).then(
      (value) => ({ value }),
      (cause: unknown) => ({ error: toBringupError(cause, 'hypervisor-failed') }),
    );
    const error = 'error' in outcome ? { error: outcome.error.toJSON() } : {};
    await store.transaction((tx) => tx.emit(`vm:${action}`, placed.id, { ...told, ...error }));
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  async #find(ref: VmRef): Promise<PlacedVm> {
    const { store } = this.#options;
    if ('deploymentId' in ref) return placedVm(store, ref.deploymentId);
    const { environmentId } = ref;
    const row = await store.db
      .selectFrom('environments')
      .select('deployment_id')
      .where('id', '=', environmentId)
      .executeTakeFirst();
    if (row !== undefined) return placedVm(store, row.deployment_id);
    throw new BringupError('not-found', `there is no environment ${environmentId}`, { details: { environmentId } });
  }

  async #checkIdle(placed: PlacedVm, action: VmAction): Promise<void> {
    const work = await workOn(this.#options.store, placed.id);
    if (work === undefined) return;
    throw new BringupError(
      'conflict',
      `the lab works with the VM ${placed.vm.name} (${work.kind} ${work.id}): a ${actions[action]} may make that fail; ` +
        'wait for it, cancel it, or use force',
      { retryable: true, details: { id: placed.id, workId: work.id, kind: work.kind } },
    );
  }
}

const actions: Readonly<Record<VmAction, string>> = { reset: 'reset', nmi: 'NMI', screenshot: 'screenshot' };

function stopped({ id, vm }: PlacedVm, state: string): BringupError {
  return new BringupError(
    'conflict',
    `the VM ${vm.name} does not run, it is ${state}: deploy again, or retry deployment ${id}`,
    { details: { id, vm: vm.name, state } },
  );
}
