import type { Console, ConsoleConnector } from '../contracts/console.ts';
import type { FlashConnector } from '../contracts/flash.ts';
import type { HypervisorConnector } from '../contracts/hypervisor.ts';
import type { PowerConnector, PowerSwitchOptions } from '../contracts/power.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { ShellConnector, ShellSession } from '../contracts/shell.ts';
import { limits } from '../limits.ts';

/** A call of a process to a machine or a device. */
export interface MemoryCall {
  /** Host name, serial device, outlet or flash station. */
  readonly machine: string;
  /** Such as `exec` or `createVm`. */
  readonly name: string;
  /** What it is about: the VM, the path, the slot. */
  readonly about?: string;
}

/** A process as far as the network knows it. */
export interface NetworkProcess {
  readonly name: string;
  /** Resolves at once unless it is stopped, then when it goes on; never once it is dead. */
  running(): Promise<void>;
}

/** The way from one process to all machines. */
export interface MemoryLink {
  /**
   * Brings a call to its machine and the result back: in its own time, or never. Settles by the call's
   * signal and deadline whatever becomes of it. Asks `beforeSending` when the process has stood still.
   */
  carry<T>(call: MemoryCall, options: PowerSwitchOptions, act: () => Promise<T>): Promise<T>;
  /** Resolves when what a machine has said by itself arrives. @throws when the connection broke meanwhile. */
  arrive(machine: string): Promise<void>;
  /** Calls `lose` when connections with the machine break. */
  onCut(machine: string, lose: (error: Error) => void): Disposable;
}

/**
 * Brings what a call opens. Whoever gives up while the answer is on its way has nothing to close: it is closed here, as a
 * machine closes what it finds nobody at the other end of.
 */
async function carryOpened<T extends AsyncDisposable>(
  link: MemoryLink,
  call: MemoryCall,
  options: CallOptions,
  open: () => Promise<T>,
): Promise<T> {
  let gaveUp = false;
  let opened: T | undefined;
  try {
    return await link.carry(call, options, async () => {
      opened = await open();
      if (gaveUp) await opened[Symbol.asyncDispose]();
      return opened;
    });
  } catch (error) {
    gaveUp = true;
    await opened?.[Symbol.asyncDispose]();
    throw error;
  }
}

/** The connector as it is reached over a link. */
export function linkedShell(shared: ShellConnector, link: MemoryLink): ShellConnector {
  return {
    name: shared.name,
    connect: async (target, options = {}) => {
      const machine = target.hostname;
      const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
      const call = { machine, name: 'connect' };
      const session = await carryOpened(link, call, bounded, () => shared.connect(target, options));
      return linkedSession(session, machine, link);
    },
    [Symbol.asyncDispose]: () => shared[Symbol.asyncDispose](),
  };
}

function linkedSession(session: ShellSession, machine: string, link: MemoryLink): ShellSession {
  const closed = Promise.withResolvers<Error | undefined>();
  let lost: Error | undefined;
  const cut = link.onCut(machine, (error) => {
    lost = error;
    closed.resolve(error);
    // What runs attached to the connection ends with it.
    void session[Symbol.asyncDispose]();
  });
  void session.closed.then((reason) => {
    cut[Symbol.dispose]();
    closed.resolve(reason);
  });
  const carry = <T>(name: string, about: string, options: CallOptions, act: () => Promise<T>): Promise<T> => {
    if (lost !== undefined) return Promise.reject(lost);
    return link.carry({ machine, name, about }, options, act);
  };
  return {
    closed: closed.promise,
    exec: (argv, options = {}) =>
      carry('exec', aboutCommand(argv), { timeoutMs: limits.execTimeoutMs, ...options }, () =>
        session.exec(argv, options),
      ),
    spawn: (argv, options = {}) => carry('spawn', aboutCommand(argv), options, () => session.spawn(argv, options)),
    upload: (source, path, options = {}) => carry('upload', path, options, () => session.upload(source, path, options)),
    async *download(path, options = {}) {
      const chunks = await carry('download', path, options, async () => session.download(path, options));
      for await (const chunk of chunks) {
        await link.arrive(machine);
        yield chunk;
      }
    },
    forward: async (target, options = {}) => {
      if (lost !== undefined) throw lost;
      return carryOpened(link, { machine, name: 'forward', about: '' }, options, () =>
        session.forward(target, options),
      );
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** The name of a script of the SDK is more telling than its text. */
function aboutCommand(argv: readonly string[]): string {
  const [command = '', option, , name = '', first = ''] = argv;
  return command === 'sh' && option === '-c' ? `${name} ${first}` : argv.join(' ');
}

/** As {@link linkedShell}. */
export function linkedHypervisor(shared: HypervisorConnector, link: MemoryLink): HypervisorConnector {
  return {
    name: shared.name,
    connect: async (target, shell, options = {}) => {
      const machine = target.host.hostname;
      const call = <T>(name: string, about: string, given: CallOptions | undefined, act: () => Promise<T>) =>
        link.carry({ machine, name, about }, { timeoutMs: limits.hypervisorCallTimeoutMs, ...given }, act);
      const open = <T extends AsyncDisposable>(
        name: string,
        about: string,
        given: CallOptions | undefined,
        act: () => Promise<T>,
      ) => carryOpened(link, { machine, name, about }, { timeoutMs: limits.hypervisorCallTimeoutMs, ...given }, act);
      const inner = await open('connectHypervisor', '', options, () => shared.connect(target, shell, options));
      return {
        closed: inner.closed,
        capabilities: (given) => call('capabilities', '', given, () => inner.capabilities(given)),
        listVms: (given) => call('listVms', '', given, () => inner.listVms(given)),
        getVm: (name, given) => call('getVm', name, given, () => inner.getVm(name, given)),
        createVm: (spec, given) => call('createVm', spec.name, given, () => inner.createVm(spec, given)),
        startVm: (name, given) => call('startVm', name, given, () => inner.startVm(name, given)),
        resetVm: (name, given) => call('resetVm', name, given, () => inner.resetVm(name, given)),
        injectNmi: (name, given) => call('injectNmi', name, given, () => inner.injectNmi(name, given)),
        screenshot: (name, given) => call('screenshot', name, given, () => inner.screenshot(name, given)),
        destroyVm: (name, given) => call('destroyVm', name, given, () => inner.destroyVm(name, given)),
        openConsole: async (name, given) =>
          linkedConsole(await open('openConsole', name, given, () => inner.openConsole(name, given)), machine, link),
        events: (given) => inner.events(given),
        [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
      };
    },
    [Symbol.asyncDispose]: () => shared[Symbol.asyncDispose](),
  };
}

function linkedConsole(console: Console, machine: string, link: MemoryLink): Console {
  const { sendBreak } = console;
  const call = (name: string, options: CallOptions, act: () => Promise<void>): Promise<void> =>
    link.carry({ machine, name }, { timeoutMs: limits.execTimeoutMs, ...options }, act);
  return {
    output: {
      async *[Symbol.asyncIterator]() {
        const cut = Promise.withResolvers<never>();
        cut.promise.catch(() => undefined);
        using _cut = link.onCut(machine, (error) => cut.reject(error));
        const chunks = console.output[Symbol.asyncIterator]();
        for (;;) {
          const next = await Promise.race([chunks.next(), cut.promise]);
          if (next.done === true) return;
          await Promise.race([link.arrive(machine), cut.promise]);
          yield next.value;
        }
      },
    },
    write: (data, options = {}) => call('write', options, () => console.write(data, options)),
    ...(sendBreak !== undefined && { sendBreak: () => call('sendBreak', {}, () => sendBreak.call(console)) }),
    [Symbol.asyncDispose]: () => console[Symbol.asyncDispose](),
  };
}

/** As {@link linkedShell}. */
export function linkedConsoles(shared: ConsoleConnector, link: MemoryLink): ConsoleConnector {
  return {
    name: shared.name,
    open: async (target, options = {}) => {
      const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
      const call = { machine: target.device, name: 'openConsole', about: target.name };
      const console = await carryOpened(link, call, bounded, () => shared.open(target, options));
      return linkedConsole(console, target.device, link);
    },
    [Symbol.asyncDispose]: () => shared[Symbol.asyncDispose](),
  };
}

/** As {@link linkedShell}. */
export function linkedPower(shared: PowerConnector, link: MemoryLink): PowerConnector {
  return {
    name: shared.name,
    methods: shared.methods,
    open: async (config, options) => {
      const machine = config.pduOutlet ?? config.usbHubPort ?? config.gpioPin ?? '';
      const outlet = await shared.open(config, options);
      const call = <T>(name: string, given: PowerSwitchOptions | undefined, act: () => Promise<T>): Promise<T> =>
        link.carry({ machine, name }, { timeoutMs: limits.execTimeoutMs, ...given }, act);
      return {
        on: (given) => call('powerOn', given, () => outlet.on(given)),
        off: (given) => call('powerOff', given, () => outlet.off(given)),
        state: (given) => call('powerState', given, () => outlet.state(given)),
        [Symbol.asyncDispose]: () => outlet[Symbol.asyncDispose](),
      };
    },
    [Symbol.asyncDispose]: () => shared[Symbol.asyncDispose](),
  };
}

/** As {@link linkedShell}. */
export function linkedFlash(shared: FlashConnector, link: MemoryLink): FlashConnector {
  return {
    name: shared.name,
    open: async (target, options = {}) => {
      const machine = target.stationId;
      const call = <T>(name: string, about: string, given: CallOptions, act: () => Promise<T>): Promise<T> =>
        link.carry({ machine, name, about }, given, act);
      const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
      const opening = { machine, name: 'openFlash', about: '' };
      const station = await carryOpened(link, opening, bounded, () => shared.open(target, options));
      const { verify } = station;
      return {
        flash: (image, given = {}) =>
          call('flash', `${image.slot} ${image.bytes.sha256 ?? ''}`, given, () => station.flash(image, given)),
        ...(verify !== undefined && {
          verify: (expected, given = {}) =>
            call('verify', expected.slot, given, () => verify.call(station, expected, given)),
        }),
        [Symbol.asyncDispose]: () => station[Symbol.asyncDispose](),
      };
    },
    [Symbol.asyncDispose]: () => shared[Symbol.asyncDispose](),
  };
}
