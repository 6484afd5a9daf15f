import { limits } from '@bringup/core';
import type { AuditEntry } from './audit.ts';
import type { HistoryEntry } from './history.ts';
import type { Outcome, Report } from './outcome.ts';

/** A call that changes a machine, by the moments of its way. */
interface Deed {
  readonly by: string;
  readonly name: string;
  readonly about: string;
  readonly machine: string;
  /** When its process last asked the store something before. */
  readonly lookedAt: number;
  readonly sentAt: number;
  readonly begunAt: number;
}

/** A time in which a process had a piece of work, or stood still. */
interface Span {
  readonly by: string;
  readonly from: number;
  to: number;
}

const onVms = ['createVm', 'startVm', 'resetVm', 'destroyVm'];
const onPower = ['powerOn', 'powerOff'];
const onBoards = ['flash', ...onPower];
/** Twice the way of a call, and a turn of the clock: what a moment that is measured elsewhere may be off by. */
const slackMs = 500;

/**
 * Nobody drives a machine that somebody else drives: whoever changes a VM, writes a board's flash or switches its
 * power has the work that is done there. No build begins where it is over. A call that was on its way when the work was lost can't be called
 * back, nor can one be held up whose process had just looked whether it may, and stood still before it was sent. A command to an outlet
 * can, so that none comes when the board's next owner has switched it.
 */
export function checkMachines({ plan, history, audit, database, scenery }: Outcome, report: Report): void {
  for (const build of scenery.late) report(`${build} began after it was over`);
  const had = spansOfWork(audit);
  const stood = stops(history.entries);
  const workOn = workByDevice(database.rows.bind(database));
  const timely = !plan.faults.some(({ kind }) => kind === 'clock-jump' || kind === 'slow');
  const switched: Deed[] = [];
  for (const deed of deedsOf(history.entries)) {
    const { by, name, about, machine, lookedAt, sentAt, begunAt } = deed;
    const work = workOn(deed);
    // VMs that nobody knows any more are removed by whoever finds them.
    if (work === undefined) continue;
    if (onPower.includes(name)) switched.push(deed);
    const spans = work.flatMap((id) => had.get(id) ?? []);
    const others = spans.filter((span) => span.by !== by && span.from <= begunAt && begunAt <= span.to);
    const own = spans.filter((span) => span.by === by && span.from <= begunAt);
    if (others.length === 0 || own.some(({ to }) => begunAt <= to)) continue;
    const lostAt = Math.max(...own.map(({ to }) => to));
    if (timely && onPower.includes(name)) {
      const ageMs = begunAt - lookedAt;
      if (ageMs > limits.powerCallMs + slackMs)
        report(`${by} did ${name} on ${machine} at ${begunAt}, ${ageMs} ms after it had looked`);
      const before = switched.find(
        (one) =>
          one.machine === machine &&
          one.begunAt + slackMs < begunAt &&
          others.some((span) => span.by === one.by && span.from <= one.begunAt),
      );
      if (before !== undefined)
        report(
          `${by} did ${name} on ${machine} at ${begunAt}, after ${before.by} had done ${before.name} at ${before.begunAt}`,
        );
    }
    const excused =
      sentAt <= lostAt ||
      stood.some(
        (stop) => stop.by === by && stop.from <= lostAt && sentAt <= stop.to && lookedAt >= Math.floor(stop.from),
      );
    if (excused) continue;
    const whose = others.map((span) => span.by).join(', ');
    report(`${by} did ${name} ${about} on ${machine} at ${begunAt}, sent at ${sentAt}, while it was ${whose}'s to do`);
  }
}

function* deedsOf(entries: readonly HistoryEntry[]): Generator<Deed> {
  const sent = new Map<number, { readonly lookedAt: number; readonly sentAt: number }>();
  for (const { at, by, what, details = {} } of entries) {
    const [name = '', when] = what.split(' ');
    if (!onVms.includes(name) && !onBoards.includes(name)) continue;
    const call = Number(details['call']);
    if (when === 'sent') sent.set(call, { lookedAt: Number(details['lookedAt'] ?? at), sentAt: at });
    if (when !== 'begun') continue;
    const about = String(details['about'] ?? '');
    const { lookedAt, sentAt } = sent.get(call) ?? { lookedAt: at, sentAt: at };
    yield { by, name, about, machine: String(details['machine']), lookedAt, sentAt, begunAt: at };
  }
}

/** Who had which piece of work when. */
function spansOfWork(audit: readonly AuditEntry[]): ReadonlyMap<string, Span[]> {
  const spans = new Map<string, Span[]>();
  for (const { what, at, by, row } of audit) {
    if (what !== 'work') continue;
    const id = String(row['id']);
    const of = spans.get(id) ?? [];
    spans.set(id, of);
    const last = of.at(-1);
    if (row['from'] === 'running' && last !== undefined) last.to = at;
    if (row['to'] === 'running') of.push({ by, from: at, to: Number.POSITIVE_INFINITY });
  }
  return spans;
}

function stops(entries: readonly HistoryEntry[]): readonly Span[] {
  const spans: Span[] = [];
  for (const { at, by, what } of entries) {
    if (what === 'stopped') spans.push({ by, from: at, to: Number.POSITIVE_INFINITY });
    const open = spans.findLast((span) => span.by === by);
    if (what === 'resumed' && open !== undefined) open.to = at;
  }
  return spans;
}

/** The pieces of work that a deed may be part of; undefined when it may be nobody's. */
function workByDevice(rows: Outcome['database']['rows']): (deed: Deed) => string[] | undefined {
  const items = rows('select id, kind, parent_id, input from work_items').map((row) => ({
    id: String(row['id']),
    kind: String(row['kind']),
    parent: row['parent_id'] === null ? undefined : String(row['parent_id']),
    input: String(row['input']),
  }));
  const parents = new Map(items.map(({ id, parent }) => [id, parent]));
  const deployments = rows('select id, target_id from deployments');
  const boards = new Map(
    rows("select id, name from resources where kind = 'board'").map((row) => [String(row['name']), String(row['id'])]),
  );
  const about = (words: readonly string[], kinds: readonly string[]): string[] =>
    items
      .filter(({ id, kind, parent, input }) => {
        const family = [id, parent, parent && parents.get(parent)];
        return kinds.includes(kind) && words.some((word) => family.includes(word) || input.includes(word));
      })
      .map(({ id }) => id);
  return ({ name, about: vm, machine }) => {
    if (onVms.includes(name)) {
      const deployment = vm.replace(/^bringup-/, '');
      const work = about([deployment], ['deployment', 'boot', 'release', 'testrun']);
      return name === 'destroyVm' && work.length === 0 ? undefined : work;
    }
    const board = [...boards].find(([one]) => machine.includes(one))?.[1];
    if (board === undefined) return undefined;
    const placed = deployments.filter((row) => row['target_id'] === board).map(({ id }) => String(id));
    return about([board, ...placed], ['deployment', 'boot', 'flash', 'power']);
  };
}
