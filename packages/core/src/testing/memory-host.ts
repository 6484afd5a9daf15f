import { posix } from 'node:path';
import { duplexPair, type Duplex } from 'node:stream';
import type { Clock } from '../contracts/runtime.ts';
import type { ForwardTarget, SpawnOptions } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { MemoryFileError, MemoryFileSystem } from './memory-file-system.ts';
import {
  type MemoryCommand,
  type MemoryCommandContext,
  MemoryProcess,
  type MemoryRunOptions,
  type MemoryStreams,
} from './memory-process.ts';

/** What goes wrong with a memory host; tests switch it on and off. */
export interface MemoryFaults {
  /** Connecting fails with `connection-failed`. */
  refuseConnection: boolean;
  /** Connecting fails with `authentication-failed`. */
  rejectAuthentication: boolean;
  /** Connecting fails with this, such as `host-key-changed`. */
  failConnection: BringupError | undefined;
  /** Whatever is started now gets no answer, ever: it ends by its deadline, an abort or a drop. */
  hang: boolean;
  /** This many of the next uploads are stored with one byte changed. */
  corruptUploads: number;
  /** This many of the next downloads arrive with one byte changed. */
  corruptDownloads: number;
}

/** What a memory host shares with the others of its shell. */
export interface MemoryHostSetup {
  readonly clock: Clock;
  readonly commands: ReadonlyMap<string, MemoryCommand>;
  readonly scripts: ReadonlyMap<string, MemoryCommand>;
}

/** A target in memory: its files, its sockets, and what goes wrong with it. */
export class MemoryHost {
  readonly hostname: string;
  readonly fs: MemoryFileSystem = new MemoryFileSystem();
  readonly faults: MemoryFaults = {
    refuseConnection: false,
    rejectAuthentication: false,
    failConnection: undefined,
    hang: false,
    corruptUploads: 0,
    corruptDownloads: 0,
  };
  /** Every command that sessions started, in order. */
  readonly history: (readonly string[])[] = [];
  /** Uploads that sessions began: each has a part of its own. */
  uploads = 0;
  /** Whether the machine is off or hangs: nothing answers then, as with `refuseConnection`. */
  isDown: () => boolean = () => false;
  readonly #setup: MemoryHostSetup;
  readonly #listeners = new Map<string, (stream: Duplex) => void>();
  readonly #connections = new Set<(error: Error) => void>();

  constructor(hostname: string, setup: MemoryHostSetup) {
    this.hostname = hostname;
    this.#setup = setup;
    for (const folder of ['/tmp', '/root', '/home']) this.fs.makeFolder(folder);
  }

  /** Cuts all connections now, as a network that goes away does. New ones can be made at once. */
  dropConnections(): void {
    const error = new BringupError('connection-lost', `The connection to ${this.hostname} was lost.`, {
      retryable: true,
      details: { hostname: this.hostname },
    });
    for (const lose of [...this.#connections]) lose(error);
  }

  /** Serves a socket that sessions can forward to. Disposing it stops listening. */
  listen(where: ForwardTarget, onConnection: (stream: Duplex) => void): Disposable {
    const key = socketKey(where);
    this.#listeners.set(key, onConnection);
    return { [Symbol.dispose]: () => void this.#listeners.delete(key) };
  }

  /** The far end of a new stream to a socket of this host. @throws `connection-failed`. */
  openSocket(where: ForwardTarget): Duplex {
    const onConnection = this.#listeners.get(socketKey(where));
    if (onConnection === undefined) {
      throw new BringupError('connection-failed', `Nothing listens at ${socketKey(where)} on ${this.hostname}.`, {
        retryable: true,
        details: { hostname: this.hostname, where: socketKey(where) },
      });
    }
    const [near, far] = duplexPair();
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    far.on('error', () => {});
    onConnection(far);
    return near;
  }

  /** Registers a connection: `lose` is called when it is cut. Gives what takes it off again. */
  addConnection(lose: (error: Error) => void): () => void {
    this.#connections.add(lose);
    return () => void this.#connections.delete(lose);
  }

  /** Starts a command for a session. @throws `command-failed` when its folder is missing. */
  start(argv: readonly string[], username: string, options: SpawnOptions): MemoryProcess {
    const home = username === 'root' ? '/root' : `/home/${username}`;
    this.fs.makeFolder(home, { recursive: true });
    const cwd = posix.resolve(home, options.cwd ?? '.');
    if (this.fs.stat(cwd)?.kind !== 'folder') {
      throw new BringupError('command-failed', `There is no folder ${cwd} on ${this.hostname} to run in.`, {
        details: { hostname: this.hostname, cwd },
      });
    }
    this.history.push([...argv]);
    const env = { HOME: home, USER: username, PATH: '/usr/bin:/bin', ...options.env };
    return new MemoryProcess((streams) => this.#run(argv, { cwd, env, ...streams }));
  }

  async #run(
    argv: readonly string[],
    given: MemoryStreams & { cwd: string; env: Readonly<Record<string, string>> },
  ): Promise<number> {
    const context: MemoryCommandContext = {
      ...given,
      argv,
      fs: this.fs,
      clock: this.#setup.clock,
      hostname: this.hostname,
      path: (path) => posix.resolve(given.cwd, path),
      run: (other: readonly string[], options: MemoryRunOptions = {}) => this.#run(other, { ...given, ...options }),
    };
    try {
      return await this.#dispatch(context);
    } catch (error) {
      const about = error instanceof MemoryFileError ? `${error.path}: ` : '';
      const said = `${argv[0]}: ${about}${error instanceof Error ? error.message : String(error)}\n`;
      // What it writes to may be the disk that is full.
      await given.stderr.write(said).catch(() => undefined);
      return 1;
    }
  }

  async #dispatch(context: MemoryCommandContext): Promise<number> {
    const name = (context.argv[0] ?? '').replace(/^(\/usr)?\/bin\//, '');
    const command = this.#setup.commands.get(name);
    if (command !== undefined) return (await command(context)) ?? 0;
    if (name === 'sh' && context.argv[1] === '-c') return this.#script(context, context.argv.slice(2));
    await context.stderr.write(`sh: 1: ${context.argv[0]}: not found\n`);
    return 127;
  }

  async #script(context: MemoryCommandContext, [script = '', ...argv]: readonly string[]): Promise<number> {
    const behaviour = this.#setup.scripts.get(script);
    if (behaviour !== undefined) return (await behaviour({ ...context, argv: argv.length === 0 ? ['sh'] : argv })) ?? 0;
    await context.stderr.write(`sh: the memory shell does not know this script, register it in scripts: ${script}\n`);
    return 127;
  }
}

function socketKey(where: ForwardTarget): string {
  return 'socketPath' in where ? where.socketPath : `${where.host}:${where.port}`;
}
