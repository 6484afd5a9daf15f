// What connectors are asked to do, as far as it is measured: the names of the contracts' methods.

/** How a call is measured. */
export interface Operation {
  /** What it gives is measured in turn. */
  readonly opens?: Operations;
  /** It gives bytes or items one by one: measured until the last one, or until its caller has had enough. */
  readonly streams?: true;
  /** Too small and too many for spans of their own: only metrics tell of them. */
  readonly small?: true;
  /** The target's name, for the span, from the first argument. Never an address that may hold a login. */
  readonly target?: (argument: unknown) => string | undefined;
}

/** Operations by the name of their method. Other methods pass unmeasured. */
export type Operations = Readonly<Record<string, Operation>>;

/** Whose operations they are, as `bringup.connector.type`. */
export type ConnectorType = 'shell' | 'hypervisor' | 'console' | 'power' | 'flash' | 'artifact_storage' | 'notifier';

const machineConsole: Operations = { write: { small: true }, sendBreak: {} };

const shellSession: Operations = {
  exec: {},
  spawn: { opens: { kill: {} } },
  upload: {},
  download: { streams: true },
  forward: {},
};

// Its events are listened to for as long as a connection lasts, which is no call.
const hypervisorSession: Operations = {
  capabilities: {},
  listVms: {},
  getVm: {},
  createVm: {},
  startVm: {},
  resetVm: {},
  injectNmi: {},
  screenshot: {},
  destroyVm: {},
  openConsole: { opens: machineConsole },
};

/** What each type of connector is asked to do. */
export const operations: Readonly<Record<ConnectorType, Operations>> = {
  shell: { connect: { opens: shellSession, target: named('hostname') } },
  hypervisor: { connect: { opens: hypervisorSession, target: (asked) => named('hostname')(property(asked, 'host')) } },
  console: { open: { opens: machineConsole, target: named('name') } },
  power: { open: { opens: { on: {}, off: {}, state: {} } } },
  flash: { open: { opens: { flash: {}, verify: {} }, target: (asked) => named('name')(property(asked, 'board')) } },
  artifact_storage: { put: {}, get: { streams: true }, stat: {}, delete: {}, list: { streams: true }, freeBytes: {} },
  notifier: { deliver: {} },
};

function named(name: string): (asked: unknown) => string | undefined {
  return (asked) => {
    const value = property(asked, name);
    return typeof value === 'string' ? value : undefined;
  };
}

function property(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null ? (Reflect.get(of, name) as unknown) : undefined;
}
