import fc from 'fast-check';
import { expect, it } from 'vitest';
import { limits, type AlertSeverity, type Trouble } from '@bringup/core';
import { fakeClock, seededRandom, type FakeClock } from '@bringup/core/testing';
import { raiseAlert, resolveAlert } from '../../src/alerts/raise.ts';
import { AlertService } from '../../src/alerts/service.ts';
import { tellOfAlerts } from '../../src/alerts/tell.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';

const severities = ['info', 'warning', 'critical'] as const;
const rank = (severity: AlertSeverity): number => severities.indexOf(severity);

interface Real {
  readonly store: Store;
  readonly clock: FakeClock;
  readonly alerts: AlertService;
  readonly services: { clock: FakeClock; random: ReturnType<typeof seededRandom> };
}

interface Expected {
  state: 'open' | 'acknowledged' | 'resolved';
  severity: AlertSeverity;
  count: number;
  /** Whether a person ended it. */
  byPerson: boolean;
  resolvedAt: number;
}

/** The newest alert of each trouble, and how many there have been in all. */
interface Model {
  readonly newest: Map<string, Expected>;
  total: number;
}

const trouble = fc.record({
  type: fc.constantFrom('temperature', 'connectivity'),
  subject: fc.constantFrom('a', 'b'),
  severity: fc.constantFrom(...severities),
}) as fc.Arbitrary<Pick<Trouble, 'type' | 'subject' | 'severity'>>;

const keyOf = ({ type, subject }: Pick<Trouble, 'type' | 'subject'>): string => `${type} ${subject}`;

type Command = fc.AsyncCommand<Model, Real>;

const command = (
  check: (model: Model) => boolean,
  run: (model: Model, real: Real) => Promise<void>,
  name: string,
): Command => ({
  check,
  async run(model, real) {
    await run(model, real);
    await agrees(model, real);
  },
  toString: () => name,
});

const raise = trouble.map((given): Command =>
  command(
    () => true,
    async (model, { store, services, clock }) => {
      await store.transaction((tx) => raiseAlert(tx, { ...given, message: 'trouble' }, services));
      const known = model.newest.get(keyOf(given));
      const back =
        known?.state === 'resolved' && !known.byPerson && clock.now() < known.resolvedAt + limits.alertFlapMs;
      if (known === undefined || (known.state === 'resolved' && !back)) {
        model.newest.set(keyOf(given), {
          state: 'open',
          severity: given.severity,
          count: 1,
          byPerson: false,
          resolvedAt: 0,
        });
        model.total += 1;
        return;
      }
      known.count += 1;
      if (back) Object.assign(known, { state: 'open', severity: given.severity });
      else if (rank(given.severity) > rank(known.severity))
        Object.assign(known, { state: 'open', severity: given.severity });
    },
    `raise ${keyOf(given)} ${given.severity}`,
  ),
);

const isOver = trouble.map((given): Command =>
  command(
    () => true,
    async (model, { store, clock }) => {
      await store.transaction((tx) => resolveAlert(tx, given, 'over', clock.now()));
      const known = model.newest.get(keyOf(given));
      if (known === undefined || known.state === 'resolved') return;
      Object.assign(known, { state: 'resolved', byPerson: false, resolvedAt: clock.now() });
    },
    `${keyOf(given)} is over`,
  ),
);

const byPerson = (verb: 'acknowledge' | 'resolve'): fc.Arbitrary<Command> =>
  trouble.map((given) =>
    command(
      (model) => model.newest.has(keyOf(given)),
      async (model, { alerts, clock }) => {
        const [newest] = await alerts.list({ type: given.type, subject: given.subject, limit: 1 });
        await alerts[verb](newest?.id ?? '', { by: 'ada' });
        const known = model.newest.get(keyOf(given));
        if (known === undefined || known.state === 'resolved') return;
        if (verb === 'resolve') Object.assign(known, { state: 'resolved', byPerson: true, resolvedAt: clock.now() });
        else known.state = 'acknowledged';
      },
      `${verb} ${keyOf(given)}`,
    ),
  );

const wait = fc.constantFrom(1, limits.alertFlapMs / 2, limits.alertFlapMs).map((ms) =>
  command(
    () => true,
    async (_model, { clock }) => clock.advance(ms),
    `wait ${ms}`,
  ),
);

async function agrees(model: Model, { alerts }: Real): Promise<void> {
  const all = await alerts.list();
  expect(all).toHaveLength(model.total);
  const unresolved = all.filter(({ state }) => state !== 'resolved').map(keyOf);
  expect(new Set(unresolved).size, 'unresolved alerts of the same trouble').toBe(unresolved.length);
  for (const [key, { state, severity, count }] of model.newest) {
    expect(all.find((alert) => keyOf(alert) === key)).toMatchObject({ state, severity, count });
  }
}

it('the same trouble of the same subject is one alert, whatever happens in whatever order', () =>
  fc.assert(
    fc.asyncProperty(
      fc.commands([raise, isOver, byPerson('acknowledge'), byPerson('resolve'), wait], { maxCommands: 30 }),
      async (commands) => {
        const clock = fakeClock();
        const services = { clock, random: seededRandom(2) };
        await using store = await Store.open(sqlite(), clock);
        tellOfAlerts(store, services);
        const alerts = new AlertService({ store, ...services });
        await fc.asyncModelRun(
          () => ({ model: { newest: new Map(), total: 0 }, real: { store, clock, alerts, services } }),
          commands,
        );
      },
    ),
    { numRuns: 100 },
  ));
