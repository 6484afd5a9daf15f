import { throwIfAborted } from '../async.ts';
import { bootLogId } from '../deployments/records.ts';
import { BringupError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { testLogId, type TestRunInput } from '../testruns/handler.ts';
import type { WorkEngine } from '../work/engine.ts';

/** Whose console: a deployment's, whatever is deployed in an environment, or whatever is deployed on a board. */
export type ConsoleRef =
  { readonly deploymentId: string } | { readonly environmentId: string } | { readonly boardId: string };

/** A place in what the lab heard. Survives JSON: a client that reconnects goes on from it. */
export interface ConsolePlace {
  /** The boot or test run that listened. */
  readonly workId: string;
  /** Bytes of what it heard that come before. */
  readonly offset: number;
}

/** A piece of what the lab heard. */
export interface ConsolePiece extends ConsolePlace {
  readonly kind: 'boot' | 'testrun';
  readonly deploymentId: string;
  readonly bytes: Uint8Array;
  /** Where the next piece begins: pass it as `from` to go on after this one. */
  readonly next: ConsolePlace;
}

/** Options of {@link ConsoleService.watch}. */
export interface WatchOptions {
  /** Go on here. Default: the beginning; for a board, that of the newest boot on it. */
  readonly from?: ConsolePlace;
  /** Go on as more is heard, until nothing can come any more. Default false: up to what is there now. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/** Work that heard something of a console, or will. */
interface Listener {
  readonly id: string;
  readonly kind: 'boot' | 'testrun';
  readonly deploymentId: string;
  readonly startedAt: number;
  readonly final: boolean;
}

/** The deployments whose listeners are looked for. */
interface Scope {
  readonly column: 'id' | 'environment_id' | 'target_id';
  readonly value: string;
  /** Boots with smaller ids are of no interest. */
  readonly since: string;
}

/**
 * Consoles as the lab hears them while it boots and tests: any number watch, in any process, and disturb neither
 * the work nor each other. What is told is read from the store, where it is before anything is made of it: nothing
 * is lost or told twice, however slow a watcher is and whichever process listens.
 *
 * Between a boot and a test run nobody of the lab listens. What a VM says then is in its console's history, which
 * `deployments.openConsole` gives and a test run of that VM hears first, from the end of its boot on.
 */
export class ConsoleService {
  readonly #store: Store;
  readonly #work: WorkEngine;

  constructor(options: { readonly store: Store; readonly work: WorkEngine }) {
    this.#store = options.store;
    this.#work = options.work;
  }

  /**
   * What was heard, boot by boot and test run by test run in the order they began, and with `follow` what is heard
   * from now on. That ends once a deployment was given back or another took its place, an environment was given
   * back, or a board was taken out of the pool; leaving the loop, or aborting, ends it at any time.
   *
   * @example
   * ```ts
   * for await (const { bytes, next } of lab.consoles.watch({ boardId }, { follow: true })) {
   *   page.append(bytes); // keep `next`: a page that reconnects passes it as `from`
   * }
   * ```
   * @throws `not-found` for what there is not, `from` included; `aborted`.
   */
  async *watch(ref: ConsoleRef, options: WatchOptions = {}): AsyncGenerator<ConsolePiece, void, undefined> {
    const { follow = false, signal } = options;
    throwIfAborted(signal, 'watching a console');
    const scope = await this.#scope(ref, options.from);
    const reached = new Map<string, number>();
    const settled = new Set<string>();
    if (options.from !== undefined) await this.#skipTo(options.from, scope, reached, settled);
    for (;;) {
      using change = this.#work.nextChange(signal);
      // Looked at in this order: what began before the end is then among the listeners.
      const over = follow && (await this.#isOver(ref));
      const left = (await this.#listeners(scope)).filter(({ id }) => !settled.has(id));
      for (const listener of left) {
        yield* this.#heardBy(listener, reached, options);
        // One that is not final may be run again and hear more: it is come back to.
        if (listener.final) settled.add(listener.id);
      }
      const quiet = left.every(({ final }) => final);
      if (!follow || (over && quiet)) return;
      await change.happened;
      throwIfAborted(signal, 'watching a console');
    }
  }

  async *#heardBy(
    { id, kind, deploymentId }: Listener,
    reached: Map<string, number>,
    { follow = false, signal }: WatchOptions,
  ): AsyncGenerator<ConsolePiece, void, undefined> {
    const logId = kind === 'boot' ? bootLogId(id) : testLogId(id);
    let offset = reached.get(id) ?? 0;
    const reading = { offset, follow, ...(signal !== undefined && { signal }) };
    for await (const bytes of this.#work.logs.readOf(id, logId, reading)) {
      const begin = { workId: id, offset };
      offset += bytes.byteLength;
      reached.set(id, offset);
      yield { ...begin, kind, deploymentId, bytes, next: { workId: id, offset } };
    }
  }

  /** @throws `not-found`. */
  async #scope(ref: ConsoleRef, from: ConsolePlace | undefined): Promise<Scope> {
    const { db } = this.#store;
    if ('deploymentId' in ref) {
      const value = ref.deploymentId;
      const row = await db.selectFrom('deployments').select('id').where('id', '=', value).executeTakeFirst();
      if (row === undefined) throw missing('deployment', value);
      return { column: 'id', value, since: '' };
    }
    if ('environmentId' in ref) {
      const value = ref.environmentId;
      const row = await db.selectFrom('environments').select('id').where('id', '=', value).executeTakeFirst();
      if (row === undefined) throw missing('environment', value);
      return { column: 'environment_id', value, since: '' };
    }
    const { boardId: value } = ref;
    if (await this.#isOver(ref)) throw missing('board', value);
    const boots = db.selectFrom('deployments').select('boot_id').where('boot_id', 'is not', null);
    const first =
      from === undefined
        ? await boots.where('target_id', '=', value).orderBy('boot_id', 'desc').limit(1).executeTakeFirst()
        : await boots
            .where((eb) =>
              eb.or([
                eb('boot_id', '=', from.workId),
                eb('id', 'in', eb.selectFrom('test_runs').select('deployment_id').where('id', '=', from.workId)),
              ]),
            )
            .executeTakeFirst();
    return { column: 'target_id', value, since: first?.boot_id ?? '' };
  }

  /** Marks what comes before a place as told. @throws `not-found`. */
  async #skipTo(from: ConsolePlace, scope: Scope, reached: Map<string, number>, settled: Set<string>): Promise<void> {
    const all = await this.#listeners(scope);
    const index = all.findIndex(({ id }) => id === from.workId);
    if (index === -1) throw missing('boot or test run of that console', from.workId);
    for (const { id } of all.slice(0, index)) settled.add(id);
    reached.set(from.workId, from.offset);
  }

  /** Whether nothing more can begin there. */
  async #isOver(ref: ConsoleRef): Promise<boolean> {
    const { db } = this.#store;
    if ('boardId' in ref) {
      const board = db.selectFrom('resources').select('id').where('id', '=', ref.boardId).where('kind', '=', 'board');
      return (await board.executeTakeFirst()) === undefined;
    }
    const environments = db
      .selectFrom('environments')
      .select(['deployment_id', 'released_at'])
      .$if('environmentId' in ref, (query) => query.where('id', '=', 'environmentId' in ref ? ref.environmentId : ''))
      .$if('deploymentId' in ref, (query) =>
        query.where('id', 'in', (eb) =>
          eb
            .selectFrom('deployments')
            .select('environment_id')
            .where('id', '=', 'deploymentId' in ref ? ref.deploymentId : ''),
        ),
      );
    const row = await environments.executeTakeFirst();
    if (row === undefined || row.released_at !== null) return true;
    return 'deploymentId' in ref && row.deployment_id !== ref.deploymentId;
  }

  /** Boots and test runs that have begun to listen, in the order they began. */
  async #listeners({ column, value, since }: Scope): Promise<Listener[]> {
    const { db } = this.#store;
    // A test run counts from its boot on: so whatever comes into the list comes at its end.
    const deployments = db
      .selectFrom('deployments as d')
      .where(`d.${column}`, '=', value)
      .where('d.boot_id', 'is not', null)
      .where('d.boot_id', '>=', since);
    const [boots, tests] = await Promise.all([
      deployments
        .innerJoin('work_items as w', 'w.id', 'd.boot_id')
        .select(['w.id', 'w.started_at', 'w.finished_at', 'd.id as deployment_id'])
        .where('w.started_at', 'is not', null)
        .execute(),
      deployments
        .innerJoin('test_runs as t', 't.deployment_id', 'd.id')
        .innerJoin('work_items as w', 'w.id', 't.id')
        .select(['w.id', 'w.started_at', 'w.finished_at', 'w.input', 'd.id as deployment_id'])
        .where('w.started_at', 'is not', null)
        .execute(),
    ]);
    const onConsole = tests.filter(({ input }) => (JSON.parse(input) as TestRunInput).tests.from !== 'shell');
    const listener =
      (kind: Listener['kind']) =>
      (row: (typeof boots)[number]): Listener => ({
        id: row.id,
        kind,
        deploymentId: row.deployment_id,
        startedAt: row.started_at ?? 0,
        final: row.finished_at !== null,
      });
    return [...boots.map(listener('boot')), ...onConsole.map(listener('testrun'))].toSorted(
      (one, other) => one.startedAt - other.startedAt || (one.id < other.id ? -1 : 1),
    );
  }
}

function missing(what: string, id: string): BringupError {
  return new BringupError('not-found', `there is no ${what} ${id}`, { details: { id } });
}
