import type { Random } from '@bringup/core';
import type { CutKind } from '@bringup/core/testing';
import { seededRandom } from '@bringup/core/testing';

/** How a pipeline is made to end. */
export type Fate = 'passes' | 'build-fails' | 'panics' | 'test-fails';

/** Something that somebody wants of the lab. Times are milliseconds from the start. */
export type WorkItem = { readonly id: string; readonly atMs: number; readonly controller: number } & (
  | {
      readonly kind: 'pipeline';
      readonly target: 'qemu' | 'physical_board';
      readonly fate: Fate;
      readonly buildMs: number;
      readonly lines: number;
      readonly priority: number;
      readonly timeoutMs: number;
      readonly cancelAfterMs?: number;
    }
  | {
      readonly kind: 'reservation';
      readonly of: 'build_server' | 'host' | 'board';
      readonly priority: number;
      readonly holdMs: number;
      readonly timeoutMs: number;
      /** Whether its holder forgets to give it back. */
      readonly forgotten: boolean;
    }
  | { readonly kind: 'maintenance'; readonly machine: string; readonly forMs: number }
);

/** When a fault strikes a controller: at a time, at its n-th statement, or at its n-th call to a machine, or of that name. */
export type Moment =
  | { readonly atMs: number }
  | { readonly statement: number }
  | { readonly call: number; readonly when: 'before' | 'after'; readonly name?: string };

/** Something that goes wrong. */
export type Fault = { readonly id: string } & (
  | { readonly kind: 'crash'; readonly controller: number; readonly moment: Moment; readonly downMs: number }
  | { readonly kind: 'pause'; readonly controller: number; readonly moment: Moment; readonly forMs: number }
  | {
      readonly kind: 'cut';
      readonly controller: number;
      readonly machine: string;
      readonly how: CutKind;
      readonly atMs: number;
      readonly forMs: number;
    }
  | { readonly kind: 'reboot'; readonly machine: string; readonly atMs: number }
  | { readonly kind: 'slow'; readonly latencyMs: number; readonly atMs: number; readonly forMs: number }
  | { readonly kind: 'storage-full'; readonly atMs: number; readonly forMs: number }
  | {
      readonly kind: 'disk-full';
      readonly machine: string;
      readonly leftBytes: number;
      readonly atMs: number;
      readonly forMs: number;
    }
  | { readonly kind: 'store-full'; readonly controller: number; readonly statement: number; readonly times: number }
  | {
      readonly kind: 'clock-jump';
      readonly controller: number;
      readonly byMs: number;
      readonly atMs: number;
      readonly forMs: number;
    }
  | { readonly kind: 'store-away'; readonly controller: number; readonly moment: Moment; readonly forMs: number }
  | { readonly kind: 'deaf'; readonly controller: number; readonly atMs: number; readonly forMs: number }
);

/** Everything that a run is made of. Together with the sources it decides every step. */
export interface Plan {
  readonly seed: number;
  readonly controllers: number;
  /** Longest usual delay of a call, one way. */
  readonly latencyMs: number;
  readonly work: readonly WorkItem[];
  readonly faults: readonly Fault[];
  /** Whether the controllers watch the machines, too. */
  readonly health: boolean;
}

/** From here on nothing goes wrong any more. */
export const faultsEndMs = 60_000;

/** The machines of every run. */
export const machines = ['build1', 'build2', 'host1', 'board1', 'board2'] as const;

const kinds = ['build_server', 'host', 'board'] as const;

/** The plan of a seed. */
export function planOf(seed: number): Plan {
  const random = seededRandom(Math.imul(seed, 0x9e3779b1) ^ 0x51ed270b);
  const draw = drawing(random);
  const controllers = draw.chance(60) ? 2 : 3;
  const alone = Array.from({ length: draw.between(2, 5) }, (_, index) => workItem(`w${index}`, draw, controllers));
  const work = draw.chance(25) ? [...alone, ...crowd(draw, controllers)] : alone;
  const faults = Array.from({ length: draw.between(0, 5) }, (_, index) => fault(`f${index}`, draw, controllers));
  const latencyMs = draw.of([0, 20, 20, 200]);
  // Drawn last, so that the seeds stay what they were before there was this.
  const full = draw.chance(20) ? [diskFull('d0', draw)] : [];
  const health = draw.chance(20);
  const away = draw.chance(20) ? [storeAway('s0', draw, controllers)] : [];
  const still = draw.chance(20) ? [standsStill('p0', draw, controllers)] : [];
  return { seed, controllers, latencyMs, work, faults: [...faults, ...full, ...away, ...still], health };
}

interface Draw {
  between(low: number, high: number): number;
  chance(percent: number): boolean;
  of<T>(values: readonly [T, ...T[]]): T;
}

function drawing(random: Random): Draw {
  const between = (low: number, high: number): number => low + Math.floor(random.next() * (high - low + 1));
  return {
    between,
    chance: (percent) => random.next() * 100 < percent,
    of: ([first, ...others]) => [first, ...others][between(0, others.length)] ?? first,
  };
}

function workItem(id: string, draw: Draw, controllers: number): WorkItem {
  const base = { id, atMs: draw.between(0, 10_000), controller: draw.between(0, controllers - 1) };
  const priority = draw.of([0, 0, 0, 1, 5]);
  if (draw.chance(25)) {
    return {
      ...base,
      kind: 'reservation',
      of: draw.of(kinds),
      priority,
      holdMs: draw.between(500, 25_000),
      timeoutMs: draw.of([5_000, 120_000, 300_000]),
      forgotten: draw.chance(25),
    };
  }
  if (draw.chance(8)) {
    return { ...base, kind: 'maintenance', machine: draw.of(machines), forMs: draw.between(1_000, 30_000) };
  }
  return {
    ...base,
    kind: 'pipeline',
    target: draw.of(['qemu', 'physical_board']),
    fate: draw.of(['passes', 'passes', 'passes', 'passes', 'build-fails', 'panics', 'test-fails']),
    buildMs: draw.between(100, 8_000),
    lines: draw.between(1, 12),
    priority,
    timeoutMs: draw.of([20_000, 300_000, 300_000, 300_000]),
    ...(draw.chance(20) && { cancelAfterMs: draw.between(0, 20_000) }),
  };
}

/** Several who want the same at nearly the same time: who is served when shows only where there is a line. */
function crowd(draw: Draw, controllers: number): WorkItem[] {
  const of = draw.of(kinds);
  return Array.from({ length: draw.between(3, 6) }, (_, index) => ({
    id: `q${index}`,
    atMs: draw.between(0, 4_000),
    controller: draw.between(0, controllers - 1),
    kind: 'reservation',
    of,
    priority: 0,
    holdMs: draw.between(500, 15_000),
    timeoutMs: 300_000,
    forgotten: draw.chance(10),
  }));
}

function moment(draw: Draw): Moment {
  const kind = draw.between(0, 5);
  if (kind === 0) return { atMs: draw.between(0, 40_000) };
  if (kind === 1) return { statement: draw.between(1, 1_500) };
  if (kind <= 3) return { call: draw.between(1, 60), when: draw.of(['before', 'after']) };
  const name = draw.of(acts);
  return { call: draw.between(1, 2), when: draw.of(['before', 'after']), name };
}

function fault(id: string, draw: Draw, controllers: number): Fault {
  const controller = draw.between(0, controllers - 1);
  const atMs = draw.between(0, 40_000);
  const forMs = draw.between(500, 30_000);
  const machine = draw.of(machines);
  const kind = draw.of<Exclude<Fault['kind'], 'disk-full' | 'store-away'>>([
    'crash',
    'crash',
    'crash',
    'pause',
    'pause',
    'cut',
    'cut',
    'reboot',
    'slow',
    'storage-full',
    'store-full',
    'clock-jump',
    'deaf',
  ]);
  switch (kind) {
    case 'crash':
      return { id, kind, controller, moment: moment(draw), downMs: draw.of([0, 1_000, 10_000, 20_000]) };
    case 'pause':
      return { id, kind, controller, moment: moment(draw), forMs: draw.of([3_000, 16_000, 25_000]) };
    case 'cut':
      return { id, kind, controller, machine, how: draw.of(['refuse', 'hang']), atMs, forMs };
    case 'reboot':
      return { id, kind, machine, atMs };
    case 'slow':
      return { id, kind, latencyMs: draw.of([2_000, 10_000]), atMs, forMs };
    case 'storage-full':
      return { id, kind, atMs, forMs };
    case 'store-full':
      return { id, kind, controller, statement: draw.between(1, 1_500), times: draw.between(1, 20) };
    case 'clock-jump':
      return { id, kind, controller, byMs: draw.of([-3_600_000, -10_000, 10_000, 20_000, 3_600_000]), atMs, forMs };
    case 'deaf':
      return { id, kind, controller, atMs, forMs };
  }
}

function diskFull(id: string, draw: Draw): Fault {
  return {
    id,
    kind: 'disk-full',
    machine: draw.of(['build1', 'build2', 'host1']),
    leftBytes: draw.of([0, 10, 200, 2_000]),
    atMs: draw.between(0, 15_000),
    forMs: draw.between(500, 30_000),
  };
}

function storeAway(id: string, draw: Draw, controllers: number): Fault {
  const controller = draw.between(0, controllers - 1);
  const when = draw.of([{ atMs: draw.between(0, 40_000) }, { statement: draw.between(1, 1_500) }]);
  return { id, kind: 'store-away', controller, moment: when, forMs: draw.of([500, 4_000, 16_000, 30_000]) };
}

/** Calls that change something on a machine, which no store takes back. */
export const acts = [
  'powerOff',
  'powerOn',
  'flash',
  'createVm',
  'startVm',
  'destroyVm',
  'openConsole',
  'upload',
] as const;

/** A process that goes on with what it was about to do when another one is in the middle of doing it again. */
function standsStill(id: string, draw: Draw, controllers: number): Fault {
  const controller = draw.between(0, controllers - 1);
  const moment = { call: draw.between(1, 3), when: 'before' as const, name: draw.of(acts) };
  return { id, kind: 'pause', controller, moment, forMs: draw.between(11_000, 19_000) };
}

/** A plan without what is not named; for shrinking, and for replaying what was shrunk. */
export function keeping(plan: Plan, ids: ReadonlySet<string>): Plan {
  return {
    ...plan,
    work: plan.work.filter(({ id }) => ids.has(id)),
    faults: plan.faults.filter(({ id }) => ids.has(id)),
  };
}

/** The ids of everything in a plan. */
export function idsOf({ work, faults }: Plan): string[] {
  return [...work, ...faults].map(({ id }) => id);
}
