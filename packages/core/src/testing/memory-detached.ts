import { onAbort } from '../async.ts';
import { pollScript, startScript, stopScript } from '../work/detached-scripts.ts';
import type { MemoryFileSystem } from './memory-file-system.ts';
import type { MemoryCommand, MemoryCommandContext, MemoryOutput } from './memory-process.ts';

interface Job {
  readonly hostname: string;
  readonly stop: AbortController;
  /** It still runs; false once it has ended or its machine has been restarted. */
  alive: boolean;
  readonly watchers: Set<() => void>;
}

/**
 * Detached commands of memory hosts: what the scripts of the SDK that start, poll and stop them do,
 * with the same files. A command goes on without the session that started it.
 */
export class MemoryJobs {
  readonly #jobs = new Map<string, Job>();

  /** The scripts' behaviours by their text. */
  readonly scripts: ReadonlyMap<string, MemoryCommand> = new Map<string, MemoryCommand>([
    [startScript, (context) => this.#start(context)],
    [pollScript, (context) => this.#poll(context)],
    [stopScript, (context) => this.#stop(context)],
  ]);

  /** Ends all commands of a host as a power cut does: without a word. */
  killAll(hostname: string): void {
    for (const job of this.#jobs.values()) {
      if (job.hostname !== hostname) continue;
      job.alive = false;
      job.stop.abort();
      tell(job);
    }
  }

  #start(context: MemoryCommandContext): number {
    const { fs } = context;
    const [, folder = '', unless = '', ...command] = context.argv;
    if (unless !== '' && fs.stat(unless) !== undefined) return 75;
    fs.makeFolder(folder, { recursive: true });
    if (fs.stat(`${folder}/started`) !== undefined) return 0;
    // A command that fills the disk can still tell how it ended.
    fs.writeFile(`${folder}/exit.new`, ' '.repeat(9));
    fs.appendFile(`${folder}/log`, '');
    fs.writeFile(`${folder}/pid`, `${this.#jobs.size + 100} 1\n`);
    fs.makeFolder(`${folder}/started`);
    const job: Job = { hostname: context.hostname, stop: new AbortController(), alive: true, watchers: new Set() };
    this.#jobs.set(`${context.hostname}:${folder}`, job);
    void this.#supervise(context, folder, command, job);
    return 0;
  }

  async #supervise(
    { fs, run, env }: MemoryCommandContext,
    folder: string,
    command: readonly string[],
    job: Job,
  ): Promise<void> {
    const output = logOutput(fs, folder, job);
    const { signal } = job.stop;
    const terminated = new Promise<number>((resolve) => onAbort(signal, () => resolve(128 + 15)));
    const ended = run(command, { cwd: folder, env, stdin: nothing(), stdout: output, stderr: output, signal });
    const exitCode = await Promise.race([ended, terminated]);
    if (!job.alive) return;
    job.alive = false;
    if (fs.stat(folder) !== undefined) {
      fs.writeFile(`${folder}/exit.new`, `${exitCode}\n`.padStart(9));
      fs.rename(`${folder}/exit.new`, `${folder}/exit`);
    }
    tell(job);
  }

  async #poll({ argv, fs, hostname, stdout, clock, signal }: MemoryCommandContext): Promise<void> {
    const [, folder = '', known = '0', most = '0', looks = '0'] = argv;
    if (fs.stat(folder) === undefined) {
      await stdout.write('gone - 0\n');
      return;
    }
    const job = this.#jobs.get(`${hostname}:${folder}`);
    const news = (): boolean =>
      this.#stateOf(fs, folder, job) !== 'running -' || (fs.stat(`${folder}/log`)?.sizeBytes ?? 0) > Number(known);
    if (!news() && job !== undefined)
      await changed(job, news, (wake) => [clock.timer(Number(looks) * 100, wake), onAbort(signal, wake)]);
    const state = this.#stateOf(fs, folder, job);
    const log = logOf(fs, folder);
    const note = fs.stat(`${folder}/note`) === undefined ? '' : firstLine(fs.readFile(`${folder}/note`));
    await stdout.write(`${state} ${log.byteLength} ${note}\n`);
    await stdout.write(log.subarray(Number(known), Number(known) + Number(most)));
  }

  #stateOf(fs: MemoryFileSystem, folder: string, job: Job | undefined): string {
    if (fs.stat(`${folder}/exit`) !== undefined) return `exited ${firstLine(fs.readFile(`${folder}/exit`)).trim()}`;
    if (fs.stat(`${folder}/started`) === undefined) return 'gone -';
    return job?.alive === true ? 'running -' : 'lost -';
  }

  async #stop({ argv, fs, hostname }: MemoryCommandContext): Promise<void> {
    const [, folder = ''] = argv;
    const job = this.#jobs.get(`${hostname}:${folder}`);
    if (job?.alive !== true) return;
    const ended = changed(
      job,
      () => fs.stat(`${folder}/exit`) !== undefined,
      () => [],
    );
    job.stop.abort();
    await ended;
  }
}

/** Resolves when `news` holds after something happened to the job, or when one of `others` wakes it. */
async function changed(
  job: Job,
  news: () => boolean,
  others: (wake: () => void) => readonly Disposable[],
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    if (news()) resolve();
  };
  job.watchers.add(look);
  const wakers = others(resolve);
  try {
    await promise;
  } finally {
    job.watchers.delete(look);
    for (const waker of wakers) waker[Symbol.dispose]();
  }
}

function tell(job: Job): void {
  for (const watcher of [...job.watchers]) watcher();
}

function logOutput(fs: MemoryFileSystem, folder: string, job: Job): MemoryOutput {
  return {
    async write(data) {
      if (job.stop.signal.aborted || fs.stat(folder) === undefined) return;
      fs.appendFile(`${folder}/log`, data);
      tell(job);
    },
  };
}

function logOf(fs: MemoryFileSystem, folder: string): Buffer {
  return fs.stat(`${folder}/log`) === undefined ? Buffer.alloc(0) : fs.readFile(`${folder}/log`);
}

function firstLine(bytes: Buffer): string {
  return bytes.toString('utf8').split('\n', 1)[0] ?? '';
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
