import { Cleanup } from '../cleanup.ts';
import type { Console } from '../contracts/console.ts';
import { bootLogId, bootLogStart, type PlacedDeployment } from '../deployments/records.ts';
import type { DeploymentTarget, HeardConsole } from '../deployments/target.ts';
import type { Store } from '../store/store.ts';
import type { WorkContext } from '../work/handler.ts';
import type { LogStore, LogWriter } from '../work/logs.ts';
import type { TestRunCheckpoint } from './checkpoint.ts';

/** What a {@link TestedConsole} is the console of, and where what it says is kept. */
export interface TestedConsoleOptions {
  readonly context: WorkContext<TestRunCheckpoint>;
  readonly target: DeploymentTarget;
  readonly deployment: PlacedDeployment;
  /** The test run's, which goes on where the log of the boot ends. */
  readonly log: LogWriter;
  readonly signal: AbortSignal;
}

/** What the boot said, in its log. */
interface BootLog {
  readonly id: string;
  readonly start: number;
  readonly bytes: number;
}

/** The console of the machine under test: what it said since it booted, and the way to what it says next. */
export class TestedConsole {
  readonly #options: TestedConsoleOptions;
  readonly #logs: LogStore;
  readonly #bootLog: BootLog;

  private constructor(options: TestedConsoleOptions, logs: LogStore, bootLog: BootLog) {
    this.#options = options;
    this.#logs = logs;
    this.#bootLog = bootLog;
  }

  /** Looks up what the boot said. */
  static async of(
    { store, logs }: { readonly store: Store; readonly logs: LogStore },
    options: TestedConsoleOptions,
  ): Promise<TestedConsole> {
    const { bootId } = options.deployment;
    const id = bootLogId(bootId ?? '');
    const start = bootId === undefined ? 0 : await bootLogStart(store, bootId);
    const bytes = ((await logs.stat(id))?.sizeBytes ?? 0) - start;
    return new TestedConsole(options, logs, { id, start, bytes });
  }

  /** Opens it where it was left. @throws as {@link DeploymentTarget.openConsole}. */
  open(): Promise<Console> {
    const { target, deployment, signal } = this.#options;
    return target.openConsole(deployment, this.#heard, { signal });
  }

  /**
   * Opens it so that nothing is missed of what the machine says by itself, or, where that can't be, boots it anew. `complete`:
   * all has been said already.
   * @throws as {@link DeploymentTarget.hear}.
   */
  async hear(complete: boolean): Promise<HeardConsole> {
    const { context, target, deployment, log, signal } = this.#options;
    const restarting = async (): Promise<boolean> => {
      if (!complete) await this.#save({ restarting: true, heardFrom: log.sizeBytes });
      return !complete;
    };
    const first = context.takeovers === 0 && context.checkpoint === undefined && log.sizeBytes === 0;
    const heard = await target.hear(context, deployment, { heard: this.#heard, first, restarting, signal });
    await using opened = new Cleanup();
    opened.use(heard.console);
    if (heard.anew) await this.#save({ restarting: false });
    opened.move();
    return heard;
  }

  /** What it has said since the machine was last booted. */
  async *soFar(): AsyncIterable<Uint8Array> {
    const { context, log } = this.#options;
    const { heardFrom } = context.checkpoint ?? {};
    if (heardFrom === undefined) yield* this.#logs.read(this.#bootLog.id, { offset: this.#bootLog.start });
    yield* this.#logs.read(log.logId, { offset: heardFrom ?? 0 });
  }

  get #heard(): number {
    return this.#bootLog.bytes + this.#options.log.sizeBytes;
  }

  #save(change: Partial<TestRunCheckpoint>): Promise<void> {
    const { context } = this.#options;
    return context.save({ done: [], ...context.checkpoint, ...change });
  }
}
