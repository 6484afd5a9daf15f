import { abortedError, BringupError, limits, throwIfAborted } from '@bringup/core';
import type { Clock, ForwardTarget } from '@bringup/core';
import type { ClientChannel } from 'ssh2';
import { type Attach, ChannelRefused, type Connection } from './connection.ts';

/** How many connections and commands one target gets. */
export interface PoolOptions {
  readonly clock: Clock;
  readonly channelsPerConnection: number;
  readonly connectionsPerTarget: number;
  readonly idleMs: number;
  /** Opens one more connection. */
  readonly open: (signal: AbortSignal) => Promise<Connection>;
}

interface Member {
  readonly connection: Connection;
  /** Commands the server takes at a time; found out when it refuses one. */
  capacity: number;
  /** Channels beyond those, kept for signals. */
  reserve: number;
  used: number;
  idleTimer: Disposable | undefined;
}

interface Waiter {
  readonly urgent: boolean;
  readonly resolve: (member: Member) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The connections to one target as one account. The first carries the sessions: when it is lost,
 * they all are, and so is the pool. More are opened while commands have to wait for a channel.
 */
export class Pool {
  /** Settles when the first connection has ended. */
  readonly closed: Promise<BringupError | undefined>;
  readonly #options: PoolOptions;
  readonly #first: Member;
  readonly #members = new Set<Member>();
  readonly #waiting: Waiter[] = [];
  readonly #opening = new AbortController();
  #isOpening = false;
  #sessions = 0;
  #ending: Promise<void> | undefined;

  constructor(first: Connection, options: PoolOptions) {
    this.#options = options;
    this.#first = this.#add(first);
    this.closed = first.closed;
    void first.closed.then(() => this.end());
  }

  get isOpen(): boolean {
    return this.#first.connection.isOpen && this.#ending === undefined;
  }

  /** What calls fail with once the pool has ended. */
  get lost(): BringupError {
    return this.#first.connection.lost;
  }

  /** Counts a session in; while there is one, the first connection stays. */
  addSession(): void {
    this.#sessions += 1;
    this.#watchIdle(this.#first);
  }

  removeSession(): void {
    this.#sessions -= 1;
    this.#watchIdle(this.#first);
  }

  /**
   * Starts a command line on a channel of its own, in turn. Signals go first and may use the
   * channel kept for them: a target that is busy to the last channel can still be told to stop.
   * @throws `connection-lost`, `aborted`, `unavailable` while `limits.sshWaitingCommands` wait, {@link ChannelRefused} when the server takes no command at all.
   */
  async exec<T>(
    line: string,
    options: { readonly signal?: AbortSignal | undefined; readonly urgent?: boolean },
    attach: Attach<T>,
  ): Promise<T> {
    for (;;) {
      const member = await this.#acquire(options.signal, options.urgent === true);
      const alone = member.used === 1;
      try {
        throwIfAborted(options.signal, 'command');
        return await member.connection.exec(line, (channel, connection) => {
          this.#releaseAtEnd(member, channel);
          return attach(channel, connection);
        });
      } catch (error) {
        const tooMany = error instanceof ChannelRefused && !alone;
        // Before the release lets the next one in: it would be refused too.
        if (tooMany) lowerCapacity(member);
        this.#release(member);
        if (!tooMany) throw error;
      }
    }
  }

  /** Opens a stream to a socket on the target's side. Such channels are not among those sshd counts. */
  forward<T>(to: ForwardTarget, attach: Attach<T>): Promise<T> {
    return this.#first.connection.forward(to, attach);
  }

  /** Ends all connections; bounded in time. */
  end(): Promise<void> {
    this.#ending ??= (async (): Promise<void> => {
      this.#opening.abort();
      for (const waiter of this.#waiting.splice(0)) waiter.reject(this.lost);
      await Promise.all([...this.#members].map(({ connection }) => connection[Symbol.asyncDispose]()));
    })();
    return this.#ending;
  }

  #add(connection: Connection): Member {
    const member: Member = {
      connection,
      capacity: this.#options.channelsPerConnection,
      reserve: 1,
      used: 0,
      idleTimer: undefined,
    };
    this.#members.add(member);
    void connection.closed.then(() => {
      this.#members.delete(member);
      member.idleTimer?.[Symbol.dispose]();
    });
    this.#watchIdle(member);
    return member;
  }

  #acquire(signal: AbortSignal | undefined, urgent: boolean): Promise<Member> {
    if (!this.isOpen) return Promise.reject(this.lost);
    const free = this.#waiting.length === 0 || urgent ? this.#free(urgent) : undefined;
    if (free !== undefined) return Promise.resolve(this.#take(free));
    // Signals are no more than there are commands under way, and make room.
    if (!urgent && this.#waiting.length >= limits.sshWaitingCommands) return Promise.reject(this.#crowded());
    void this.#openMore();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        urgent,
        resolve: (member) => {
          signal?.removeEventListener('abort', abort);
          resolve(member);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', abort);
          reject(error);
        },
      };
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(abortedError('command', signal));
      };
      signal?.addEventListener('abort', abort, { once: true });
      if (urgent) this.#waiting.unshift(waiter);
      else this.#waiting.push(waiter);
    });
  }

  #crowded(): BringupError {
    const { label, details } = this.#first.connection.target;
    return new BringupError(
      'unavailable',
      `${limits.sshWaitingCommands} commands wait for their turn on ${label} already: come again later, ask less of it at a time, or raise its MaxSessions and channelsPerConnection`,
      { retryable: true, details: { ...details, limit: limits.sshWaitingCommands } },
    );
  }

  /** The least busy connection with room. */
  #free(urgent: boolean): Member | undefined {
    let best: Member | undefined;
    for (const member of this.#members) {
      const room = member.capacity + (urgent ? member.reserve : 0) - member.used;
      if (room > 0 && member.connection.isOpen && (best === undefined || member.used < best.used)) best = member;
    }
    return best;
  }

  #take(member: Member): Member {
    member.used += 1;
    this.#watchIdle(member);
    return member;
  }

  #release(member: Member): void {
    member.used -= 1;
    this.#watchIdle(member);
    this.#serve();
  }

  #releaseAtEnd(member: Member, channel: ClientChannel): void {
    const release = (): void => {
      unwatch();
      channel.off('close', release);
      this.#release(member);
    };
    const unwatch = member.connection.watch(release);
    channel.on('close', release);
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const free = this.#free(next.urgent);
      if (free === undefined) return;
      this.#waiting.shift();
      next.resolve(this.#take(free));
    }
  }

  /** Opens one more connection for those who wait; failing only means that they wait on. */
  async #openMore(): Promise<void> {
    if (this.#isOpening || this.#members.size >= this.#options.connectionsPerTarget) return;
    this.#isOpening = true;
    try {
      const connection = await this.#options.open(this.#opening.signal);
      if (this.isOpen) this.#add(connection);
      else await connection[Symbol.asyncDispose]();
    } catch {
      // Those who wait are served by the connections there are.
      return;
    } finally {
      this.#isOpening = false;
    }
    this.#serve();
    if (this.#waiting.length > 0) void this.#openMore();
  }

  /** Starts or stops the clock by which an unused connection is closed. */
  #watchIdle(member: Member): void {
    const idle = member.used === 0 && (member !== this.#first || this.#sessions === 0);
    if (!idle) {
      member.idleTimer?.[Symbol.dispose]();
      member.idleTimer = undefined;
    } else {
      member.idleTimer ??= this.#options.clock.timer(
        this.#options.idleMs,
        () => void (member === this.#first ? this.end() : member.connection[Symbol.asyncDispose]()),
        { background: true },
      );
    }
  }
}

/** The server takes fewer commands than we thought: all but the one it has just refused. */
function lowerCapacity(member: Member): void {
  const taken = member.used - 1;
  if (taken >= member.capacity) member.reserve = 0;
  else member.capacity = Math.max(1, taken);
}
