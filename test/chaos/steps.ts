import type { Driver } from 'kysely';
import type {
  Console,
  ConsoleConnector,
  FlashStation,
  GivenConnectors,
  Hypervisor,
  PowerOutlet,
  ShellConnector,
  ShellSession,
  StoreProvider,
} from '@bringup/core';

/**
 * Called before and after each commit and each call of a connector: the points at which a process may die. `acts`: the
 * call that comes next changes something on a machine, which no store takes back.
 */
export type Step = (acts: boolean) => void;

/** A store whose commits are steps. */
export function steppingStore(store: StoreProvider, step: Step): StoreProvider {
  return {
    async open() {
      const opened = await store.open();
      const { dialect } = opened;
      return {
        ...opened,
        dialect: {
          createDriver: () => steppingDriver(dialect.createDriver(), step),
          createQueryCompiler: () => dialect.createQueryCompiler(),
          createAdapter: () => dialect.createAdapter(),
          createIntrospector: (db) => dialect.createIntrospector(db),
        },
      };
    },
  };
}

function steppingDriver(driver: Driver, step: Step): Driver {
  return {
    init: () => driver.init(),
    acquireConnection: () => driver.acquireConnection(),
    beginTransaction: (connection, settings) => driver.beginTransaction(connection, settings),
    async commitTransaction(connection) {
      step(false);
      await driver.commitTransaction(connection);
      step(false);
    },
    rollbackTransaction: (connection) => driver.rollbackTransaction(connection),
    releaseConnection: (connection) => driver.releaseConnection(connection),
    destroy: () => driver.destroy(),
  };
}

/** Connectors each of whose calls, and those of what they open, are steps. */
export function steppingConnectors(given: GivenConnectors, step: Step): GivenConnectors {
  const all = <T extends object>(connectors: T | readonly T[] | undefined): readonly T[] =>
    [connectors ?? []].flat().map((connector) => stepping(connector as T, step));
  return {
    shell: all(given.shell),
    hypervisor: all(given.hypervisor),
    console: all(given.console),
    power: all(given.power),
    flash: all(given.flash),
  };
}

const opening: readonly string[] = ['connect', 'open'] satisfies readonly (
  keyof ShellConnector | keyof ConsoleConnector
)[];

const acting: readonly string[] = [
  ...(['exec', 'spawn', 'upload'] satisfies readonly (keyof ShellSession)[]),
  ...(['createVm', 'startVm', 'resetVm', 'destroyVm'] satisfies readonly (keyof Hypervisor)[]),
  ...(['write'] satisfies readonly (keyof Console)[]),
  ...(['on', 'off'] satisfies readonly (keyof PowerOutlet)[]),
  ...(['flash'] satisfies readonly (keyof FlashStation)[]),
];

/** The object with a step before and after each of its calls. */
function stepping<T extends object>(object: T, step: Step): T {
  return new Proxy(object, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || typeof name !== 'string') {
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return (...args: unknown[]): unknown => {
        step(acting.includes(name));
        const result: unknown = Reflect.apply(value, target, args);
        if (!(result instanceof Promise)) return result;
        return result.then((answer: unknown) => {
          step(false);
          return opening.includes(name) ? stepping(answer as object, step) : answer;
        });
      };
    },
  });
}
