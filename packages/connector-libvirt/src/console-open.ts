import { BringupError, sleep } from '@bringup/core';
import type { CallOptions, Clock, OpenConsoleOptions, ShellSession } from '@bringup/core';
import { ConsoleLog, historyLost } from './console-log.ts';
import { stateLagMs, statePollMs, VmConsole } from './console.ts';
import type { ConsoleLine } from './console.ts';
import type { Daemon } from './daemon.ts';
import type { DomainRef } from './domain.ts';
import { isRemoteError, virError } from './rpc/remote-error.ts';
import type { VmFolder } from './vm-folder.ts';

/** What is needed to open a console. */
export interface ConsoleOpening {
  readonly daemon: Daemon;
  readonly shell: ShellSession;
  readonly clock: Clock;
  readonly domain: DomainRef;
  readonly folder: VmFolder;
  readonly openLine: (options: CallOptions) => Promise<Daemon>;
  /** Whether the VM is known never to have run, without looking at its log. */
  readonly unstarted: () => boolean;
}

/** Whether libvirt notices within a moment that the VM has ended. */
async function endsSoon({ daemon, domain, clock }: ConsoleOpening, options: CallOptions): Promise<boolean> {
  const deadline = clock.now() + stateLagMs;
  while (await daemon.isActive(domain, options)) {
    if (clock.now() >= deadline) return false;
    await sleep(clock, statePollMs, options.signal);
  }
  return true;
}

/** Opens the line to a running VM's console, exclusively. Undefined when the VM has ended. @throws `console-busy`. */
async function openLine(opening: ConsoleOpening, options: CallOptions): Promise<ConsoleLine | undefined> {
  const { daemon, domain, openLine: connect } = opening;
  if (!(await daemon.isActive(domain, options))) return undefined;
  const line = await connect(options);
  try {
    return { daemon: line, stream: await line.openConsole(domain, options) };
  } catch (error) {
    await line[Symbol.asyncDispose]();
    if (isRemoteError(error, virError.operationInvalid, virError.noDomain)) return undefined;
    // The pty of a QEMU that is just exiting can't be opened any more, which is no word about its console.
    if (isRemoteError(error, virError.systemError) && (await endsSoon(opening, options))) return undefined;
    if (!isRemoteError(error, virError.operationFailed)) throw error;
    throw new BringupError(
      'console-busy',
      `The console of ${domain.name} is held by another client. It is free again when that one closes it.`,
      { cause: error, retryable: true, details: { ...error.details, name: domain.name } },
    );
  }
}

/**
 * Opens a VM's console.
 * @throws `console-busy`, `console-history-lost`, and as calls do.
 */
export async function openVmConsole(
  opening: ConsoleOpening,
  options: OpenConsoleOptions & { readonly onDispose: () => void },
): Promise<VmConsole> {
  const { daemon, domain, clock } = opening;
  const offset = options.offset ?? 0;
  const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
  const log = new ConsoleLog(opening.shell, opening.folder.path);
  const line = await openLine(opening, call);
  try {
    const reading = await log.read(offset, 0, call);
    const silent = reading.outcome === 'read' ? reading.bytes.length === 0 : opening.unstarted();
    // Asked after the line was opened: still paused means that the line saw all there was to see.
    const live = offset === 0 && line !== undefined && silent && (await daemon.state(domain, call)) === 'paused';
    if (reading.outcome !== 'read' && !live) throw historyLost(domain.name, offset, reading.outcome);
    return new VmConsole({
      name: domain.name,
      clock,
      log,
      line,
      live,
      offset,
      first: reading.outcome === 'read' ? reading.bytes : new Uint8Array(),
      now: async () => {
        const found = await daemon.lookUp(domain.name, {});
        if (found === undefined || !found.uuid.equals(domain.uuid) || !(await daemon.isActive(found, {})))
          return 'ended';
        return found.id === domain.id ? 'same' : 'another';
      },
      onDispose: options.onDispose,
    });
  } catch (error) {
    await line?.stream.abort().catch(() => {});
    await line?.daemon[Symbol.asyncDispose]();
    throw error;
  }
}
