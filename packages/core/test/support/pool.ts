import { silentLogger, type Architecture } from '@bringup/core';
import { fakeClock, seededRandom, type FakeClock } from '@bringup/core/testing';
import { Connectors } from '../../src/pool/connectors.ts';
import type { ResourceKindModule } from '../../src/pool/kind.ts';
import { boardKind } from '../../src/pool/kinds/board.ts';
import { buildServerKind } from '../../src/pool/kinds/build-server.ts';
import { hostKind } from '../../src/pool/kinds/host.ts';
import { Admissions } from '../../src/pool/admission.ts';
import { Pool } from '../../src/pool/pool.ts';
import { WaitingList } from '../../src/pool/waiting-list.ts';
import { Strategies, type SelectionStrategy } from '../../src/selection/strategy.ts';
import { ReservationService } from '../../src/selection/reservation-service.ts';
import { Selection } from '../../src/selection/select.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import type { ResourceKind } from '../../src/model/resource.ts';

/** A resource as a test wants it, without a machine to look at. */
export interface Given {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly architectures: readonly Architecture[];
  readonly traits?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly slots?: number;
  readonly cpuCores?: number;
  readonly memoryMb?: number;
  readonly storageGb?: number;
}

const kinds = { build_server: buildServerKind, host: hostKind, board: boardKind };

/** A pool whose resources are what tests say they are. */
export interface TestPool extends AsyncDisposable {
  readonly store: Store;
  readonly clock: FakeClock;
  readonly selection: Selection;
  readonly reservations: ReservationService;
  add(given: Given): Promise<string>;
  pool(kind: ResourceKind): Pool<Given, { id: string; currentUtilization: number }>;
}

export async function testPool(given: readonly SelectionStrategy[] = []): Promise<TestPool> {
  const clock = fakeClock();
  const random = seededRandom(5);
  const store = await Store.open(sqlite(), clock);
  const strategies = new Strategies(given, silentLogger);
  const admissions = new Admissions([strategies]);
  const waiting = new WaitingList(store, clock, admissions);
  const selection = new Selection({ store, clock, random, admissions, waiting, strategies });
  const pools = new Map<ResourceKind, Pool<Given, { id: string; currentUtilization: number }>>();
  const pool = (kind: ResourceKind): Pool<Given, { id: string; currentUtilization: number }> => {
    const known = pools.get(kind);
    if (known !== undefined) return known;
    const connectors = new Connectors();
    const made = new Pool({ store, clock, random, logger: silentLogger, connectors }, asGiven(kind));
    pools.set(kind, made);
    return made;
  };
  return {
    store,
    clock,
    selection,
    reservations: new ReservationService({ store, clock, random, selection }),
    pool,
    add: async (given) => (await pool(given.kind).register(given)).id,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

function asGiven(kind: ResourceKind): ResourceKindModule<Given, { id: string; currentUtilization: number }> {
  return {
    kind,
    title: kinds[kind].title,
    validate: (input) => input as Given,
    nameOf: ({ name }) => name,
    labelsOf: ({ labels = {} }) => labels,
    quietFields: [],
    detect: async () => null,
    describe: (given) => ({
      name: given.name,
      profile: { hostname: given.name },
      capacity: {
        slots: given.slots ?? 4,
        cpuCores: given.cpuCores ?? 8,
        memoryMb: given.memoryMb ?? 8192,
        storageGb: given.storageGb ?? 100,
      },
      architectures: given.architectures,
      traits: given.traits ?? [],
    }),
    view: (row) => ({ id: row.id, currentUtilization: row.load }),
  };
}
