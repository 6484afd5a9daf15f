import type { Duplex } from 'node:stream';
import { limits } from '@bringup/core';
import type { CallOptions, VmState } from '@bringup/core';
import { isStarting, readDomain, vmState, writeDomain } from './domain.ts';
import type { DomainRef } from './domain.ts';
import { RpcConnection } from './rpc/connection.ts';
import type { RpcConnectionOptions } from './rpc/connection.ts';
import type { Procedure } from './rpc/procedures.ts';
import { isRemoteError, virError } from './rpc/remote-error.ts';
import type { RpcStream } from './rpc/stream.ts';
import { XdrWriter } from './rpc/xdr.ts';
import type { XdrReader } from './rpc/xdr.ts';
import { signIn } from './sign-in.ts';
import type { SignInOptions } from './sign-in.ts';
import { readTypedParams } from './typed-params.ts';

// VIR_DRV_FEATURE_PROGRAM_KEEPALIVE
const keepaliveFeature = 10;
const maxDomains = 16_384;
const statsState = 1;
const startPaused = 1;
const startAutodestroy = 2;
// Managed save image, snapshots, NVRAM and checkpoints go with the definition.
const undefineEverything = 1 | 2 | 4 | 16;
// virDomainLifecycle and virDomainLifecycleAction
const lifecycleReboot = 1;
const rebootAction = { end: 0, reset: 1 } as const;
const affectLive = 1;
const metadataElement = 2;
const allCells = -1;
const modelChars = 32;
const maxMemoryStats = 16;

/** The host's hardware as libvirt counts it. */
export interface NodeInfo {
  readonly memoryKb: number;
  readonly cpus: number;
}

/** A domain with its state. */
export interface DomainWithState {
  readonly domain: DomainRef;
  readonly state: VmState;
}

/** Options of {@link Daemon.open}. */
export interface DaemonOptions extends RpcConnectionOptions, SignInOptions {
  /** URI of the driver, such as `qemu:///system`. */
  readonly uri: string;
  /** Whether the daemon may ping us, and we it. Not for connections whose reading may pause. */
  readonly keepalive: boolean;
}

/** libvirt's procedures as typed methods over one connection. Every method throws as `RpcConnection.call`. */
export class Daemon implements AsyncDisposable {
  readonly connection: RpcConnection;

  private constructor(connection: RpcConnection) {
    this.connection = connection;
  }

  /** Signs in and opens the driver. @throws `authentication-failed`, `connection-lost`, and what calls throw. */
  static async open(socket: Duplex, options: DaemonOptions): Promise<Daemon> {
    const connection = new RpcConnection(socket, options);
    try {
      await signIn(connection, options);
      const open = new XdrWriter();
      open.optional(options.uri, (uri) => open.string(uri)).u32(0);
      await connection.call('connectOpen', open.bytes(), options);
      if (options.keepalive) {
        const feature = new XdrWriter().i32(keepaliveFeature).bytes();
        const supported = (await connection.call('connectSupportsFeature', feature, options)).i32();
        if (supported !== 0) connection.startKeepalive();
      }
      return new Daemon(connection);
    } catch (error) {
      await connection[Symbol.asyncDispose]();
      throw error;
    }
  }

  #onDomain(
    procedure: Procedure,
    domain: DomainRef,
    options: CallOptions,
    more?: (args: XdrWriter) => void,
  ): Promise<XdrReader> {
    const args = writeDomain(new XdrWriter(), domain);
    more?.(args);
    return this.connection.call(procedure, args.bytes(), options);
  }

  /** The domain of that name, or undefined. */
  async lookUp(name: string, options: CallOptions): Promise<DomainRef | undefined> {
    try {
      return readDomain(
        await this.connection.call('domainLookupByName', new XdrWriter().string(name).bytes(), options),
      );
    } catch (error) {
      if (isRemoteError(error, virError.noDomain)) return undefined;
      throw error;
    }
  }

  /** A domain's state, or undefined when it is gone. */
  async state(domain: DomainRef, options: CallOptions): Promise<VmState | undefined> {
    const found = await this.#stateAndReason(domain, options);
    return found && vmState(...found);
  }

  /** Whether a domain runs, is paused, or is being started: after a revert, its next QEMU takes a moment. */
  async isActive(domain: DomainRef, options: CallOptions): Promise<boolean> {
    const found = await this.#stateAndReason(domain, options);
    if (found === undefined) return false;
    const state = vmState(...found);
    return state === 'running' || state === 'paused' || isStarting(...found);
  }

  /** Whether a domain is in the middle of being started. */
  async isStarting(domain: DomainRef, options: CallOptions): Promise<boolean> {
    const found = await this.#stateAndReason(domain, options);
    return found !== undefined && isStarting(...found);
  }

  async #stateAndReason(domain: DomainRef, options: CallOptions): Promise<readonly [number, number] | undefined> {
    try {
      const reply = await this.#onDomain('domainGetState', domain, options, (args) => args.u32(0));
      return [reply.i32(), reply.i32()];
    } catch (error) {
      if (isRemoteError(error, virError.noDomain)) return undefined;
      throw error;
    }
  }

  /** All domains, active or not, with their states: one call however many there are. */
  async states(options: CallOptions): Promise<DomainWithState[]> {
    const args = new XdrWriter().u32(0).u32(statsState).i32(0).bytes();
    const reply = await this.connection.call('connectGetAllDomainStats', args, options);
    return reply.array(maxDomains, () => {
      const domain = readDomain(reply);
      const params = readTypedParams(reply);
      return { domain, state: vmState(Number(params.get('state.state')), Number(params.get('state.reason'))) };
    });
  }

  /** All domains, active or not. */
  async list(options: CallOptions): Promise<DomainRef[]> {
    const reply = await this.connection.call('connectListAllDomains', new XdrWriter().i32(1).u32(0).bytes(), options);
    return reply.array(maxDomains, () => readDomain(reply));
  }

  /** The element of a domain's metadata that belongs to a namespace, or undefined. */
  async metadata(domain: DomainRef, namespace: string, options: CallOptions): Promise<string | undefined> {
    try {
      const reply = await this.#onDomain('domainGetMetadata', domain, options, (args) =>
        args
          .i32(metadataElement)
          .optional(namespace, (uri) => args.string(uri))
          .u32(0),
      );
      return reply.string();
    } catch (error) {
      if (isRemoteError(error, virError.noDomainMetadata, virError.noDomain)) return undefined;
      throw error;
    }
  }

  /** Defines a persistent domain. */
  async define(xml: string, options: CallOptions): Promise<DomainRef> {
    return readDomain(await this.connection.call('domainDefineXml', new XdrWriter().string(xml).bytes(), options));
  }

  /** Starts a defined domain with its processors stopped. */
  async startPaused(domain: DomainRef, options: CallOptions): Promise<void> {
    await this.#onDomain('domainCreateWithFlags', domain, options, (args) => args.u32(startPaused));
  }

  /** Runs a domain that is gone when it ends, and at the latest with this connection. */
  async runTransient(xml: string, options: CallOptions): Promise<DomainRef> {
    return readDomain(
      await this.connection.call('domainCreateXml', new XdrWriter().string(xml).u32(startAutodestroy).bytes(), options),
    );
  }

  async resume(domain: DomainRef, options: CallOptions): Promise<void> {
    await this.#onDomain('domainResume', domain, options);
  }

  /** Ends a domain at once. One that does not run, or is gone, is fine. */
  async destroy(domain: DomainRef, options: CallOptions): Promise<void> {
    const bounded = { timeoutMs: limits.vmRemovalTimeoutMs, ...options };
    await tolerate(this.#onDomain('domainDestroyFlags', domain, bounded, (args) => args.u32(0)));
  }

  /** Removes a domain's definition. One that has none, or is gone, is fine. */
  async undefine(domain: DomainRef, options: CallOptions): Promise<void> {
    await tolerate(this.#onDomain('domainUndefineFlags', domain, options, (args) => args.u32(undefineEverything)));
  }

  /** Resets a domain's machine. */
  async reset(domain: DomainRef, options: CallOptions): Promise<void> {
    await this.#onDomain('domainReset', domain, options, (args) => args.u32(0));
  }

  /** What a domain's own reset is to it while it runs: a reset, or its end. */
  async onReboot(domain: DomainRef, action: keyof typeof rebootAction, options: CallOptions): Promise<void> {
    await this.#onDomain('domainSetLifecycleAction', domain, options, (args) =>
      args.u32(lifecycleReboot).u32(rebootAction[action]).u32(affectLive),
    );
  }

  async injectNmi(domain: DomainRef, options: CallOptions): Promise<void> {
    await this.#onDomain('domainInjectNmi', domain, options, (args) => args.u32(0));
  }

  /** Opens a stream with the image of a domain's first display, and tells its format. */
  async openScreenshot(
    domain: DomainRef,
    options: CallOptions,
  ): Promise<{ readonly stream: RpcStream; readonly mimeType: string }> {
    const args = writeDomain(new XdrWriter(), domain).u32(0).u32(0).bytes();
    const { stream, body } = await this.connection.openStream('domainScreenshot', args, options);
    return { stream, mimeType: body.optional(() => body.string()) ?? 'application/octet-stream' };
  }

  /** Opens the first console of a domain. */
  async openConsole(domain: DomainRef, options: CallOptions): Promise<RpcStream> {
    const args = writeDomain(new XdrWriter(), domain);
    // The device must be NULL: an empty name is looked up and not found.
    args.optional<string>(undefined, (device) => args.string(device)).u32(0);
    return (await this.connection.openStream('domainOpenConsole', args.bytes(), options)).stream;
  }

  /** Asks for events of one kind, of all domains. */
  async subscribe(eventId: number, options: CallOptions): Promise<void> {
    const args = new XdrWriter().i32(eventId);
    args.optional<DomainRef>(undefined, (domain) => writeDomain(args, domain));
    await this.connection.call('eventCallbackRegisterAny', args.bytes(), options);
  }

  /** The host's capabilities as XML. A daemon that has just started takes seconds to find out. */
  async capabilities(options: CallOptions): Promise<string> {
    return (await this.connection.call('connectGetCapabilities', undefined, options)).string();
  }

  /** Version of the hypervisor: major × 1,000,000 + minor × 1,000 + patch. */
  async hypervisorVersion(options: CallOptions): Promise<number> {
    return Number((await this.connection.call('connectGetVersion', undefined, options)).u64());
  }

  async nodeInfo(options: CallOptions): Promise<NodeInfo> {
    const reply = await this.connection.call('nodeGetInfo', undefined, options);
    // `char model[32]`: in XDR each char takes four bytes.
    for (let i = 0; i < modelChars; i += 1) reply.i32();
    return { memoryKb: Number(reply.u64()), cpus: reply.i32() };
  }

  /** Memory of the whole host, or undefined when libvirt can't tell. */
  async totalMemoryKb(options: CallOptions): Promise<number | undefined> {
    const ask = (count: number): Promise<XdrReader> =>
      this.connection.call('nodeGetMemoryStats', new XdrWriter().i32(count).i32(allCells).u32(0).bytes(), options);
    const read = (reply: XdrReader): (readonly [string, bigint])[] =>
      reply.array(maxMemoryStats, () => [reply.string(), reply.u64()] as const);
    const first = await ask(0);
    read(first);
    const stats = new Map(read(await ask(first.i32())));
    const total = stats.get('total');
    return total === undefined ? undefined : Number(total);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection[Symbol.asyncDispose]();
  }
}

async function tolerate(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isRemoteError(error, virError.noDomain, virError.operationInvalid)) throw error;
  }
}
