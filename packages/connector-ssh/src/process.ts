import { BringupError, limits, type Clock, type ExitStatus, type ShellProcess } from '@bringup/core';
import type { ClientChannel } from 'ssh2';
import { ByteQueue } from './byte-queue.ts';
import type { Connection } from './connection.ts';
import type { TargetName } from './errors.ts';
import { PidFilter } from './pid-filter.ts';
import type { Sudo } from './sudo.ts';

/** Signals that {@link ShellProcess.kill} sends. */
export type KillSignal = Parameters<ShellProcess['kill']>[0];

/** What a process needs of the session it belongs to. */
export interface ProcessOptions {
  readonly clock: Clock;
  /** Command and target, for messages. */
  readonly what: string;
  /** The target, for messages. */
  readonly target: TargetName;
  /** By whose leave it begins; absent: it just does. */
  readonly sudo?: Sudo | undefined;
  /** Sends a signal to a process group on the target. */
  readonly signalGroup: (pid: string, signal: KillSignal) => Promise<void>;
}

/** A command on an SSH channel. */
export class SshProcess implements ShellProcess {
  readonly stdout: ByteQueue;
  readonly stderr: ByteQueue;
  readonly exited: Promise<ExitStatus>;
  /** Settles when the channel is gone and all output is here. Never rejects. */
  readonly finished: Promise<void>;
  readonly #channel: ClientChannel;
  readonly #connection: Connection;
  readonly #options: ProcessOptions;
  readonly #pid = Promise.withResolvers<string | undefined>();
  #status: ExitStatus | undefined;
  #isFinished = false;
  #ending: Promise<void> | undefined;
  /** Writers that wait for the target's window. */
  readonly #blocked = new Set<() => void>();

  constructor(channel: ClientChannel, connection: Connection, options: ProcessOptions) {
    this.#channel = channel;
    this.#connection = connection;
    this.#options = options;
    this.stdout = new ByteQueue({
      capacityBytes: limits.processBufferBytes,
      onFull: () => void channel.pause(),
      onRoom: () => void channel.resume(),
    });
    this.stderr = new ByteQueue({ capacityBytes: limits.processBufferBytes });
    const exit = Promise.withResolvers<ExitStatus>();
    // Nobody has to watch every process; whoever does still sees the rejection.
    exit.promise.catch(() => undefined);
    this.exited = exit.promise;
    const finish = Promise.withResolvers<void>();
    this.finished = finish.promise;
    this.#listen(exit, () => finish.resolve());
  }

  /** Whether the command has reported its process id, and so has really been started. */
  async started(): Promise<boolean> {
    return (await this.#pid.promise) !== undefined;
  }

  async write(data: Uint8Array): Promise<void> {
    await this.#begun();
    if (this.#isFinished || !this.#channel.writable) throw this.#inputClosed();
    await this.#untilDone((done) => this.#channel.write(data, done));
    if (this.#isFinished) throw this.#inputClosed();
  }

  async end(data?: string | Uint8Array): Promise<void> {
    await this.#begun();
    if (this.#isFinished || !this.#channel.writable) return;
    await this.#untilDone((done) => this.#channel.end(data, done));
  }

  /** What is written before `sudo` has begun the command may be taken for a password. */
  async #begun(): Promise<void> {
    if (this.#options.sudo !== undefined) await this.#pid.promise;
  }

  async kill(signal: KillSignal): Promise<void> {
    if (this.#status !== undefined || this.#isFinished) return;
    const pid = await this.#pid.promise;
    if (pid !== undefined && this.#status === undefined && this.#connection.isOpen) {
      await this.#options.signalGroup(pid, signal);
    }
  }

  /** Drops the channel: the process sees the end of its input, and a broken pipe when it says more. */
  hangUp(reason: Error): void {
    this.stdout.fail(reason);
    this.stdout.discard();
    this.#channel.close();
  }

  /** Ends the process (TERM, then KILL) and its channel; bounded in time. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#ending ??= this.#terminate();
    return this.#ending;
  }

  async #terminate(): Promise<void> {
    // Output nobody will read must not keep the process from ending.
    this.stdout.discard();
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      if (await this.#endsWithin(limits.killGraceMs, this.kill(signal))) break;
    }
    this.#channel.close();
  }

  /** Whether the process ends in time once `action` is under way. */
  async #endsWithin(delayMs: number, action: Promise<void>): Promise<boolean> {
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    using _timer = this.#options.clock.timer(delayMs, () => resolve(false));
    action.catch(() => undefined);
    const ended = this.exited.then(
      () => true,
      () => true,
    );
    return await Promise.race([ended, late]);
  }

  #listen(exit: PromiseWithResolvers<ExitStatus>, finish: () => void): void {
    const channel = this.#channel;
    const { sudo } = this.#options;
    let hasBegun = false;
    const filter = new PidFilter(
      (pid) => {
        hasBegun = pid !== undefined;
        this.#pid.resolve(pid);
      },
      sudo && { prompt: sudo.prompt, asked: this.#answering(sudo) },
    );
    const done = (cut: boolean): void => {
      if (this.#isFinished) return;
      this.#isFinished = true;
      unwatch();
      const rest = filter.end();
      if (rest !== undefined) this.stderr.push(rest);
      const refused =
        sudo !== undefined && !hasBegun && !cut
          ? sudo.refused(this.#options.target, rest?.toString('utf8') ?? '', this.#status?.exitCode)
          : undefined;
      const lost = refused ?? (cut || this.#status === undefined ? this.#lostError() : undefined);
      // Output that was cut off must not look complete, even if the exit status came through.
      this.stdout.end(lost);
      this.stderr.end(lost);
      if (lost !== undefined) exit.reject(lost);
      else if (this.#status !== undefined) exit.resolve(this.#status);
      finish();
      for (const resume of this.#blocked) resume();
    };
    const unwatch = this.#connection.watch(() => done(true));
    channel.on('data', (chunk: Buffer) => this.stdout.push(chunk));
    channel.stderr.on('data', (chunk: Buffer) => {
      const rest = filter.push(chunk);
      if (rest !== undefined) this.stderr.push(rest);
    });
    channel.on('exit', (code: number | null, signal?: string) => {
      this.#status = code === null ? { exitCode: null, signal: signal ?? 'SIGKILL' } : { exitCode: code, signal: null };
      // Whether it was the command that ended, or sudo before it, all of the output tells.
      if (sudo === undefined || hasBegun) exit.resolve(this.#status);
    });
    channel.on('error', () => undefined);
    channel.on('close', () => done(false));
  }

  /** The password is told once; who asks again got the wrong one. */
  #answering(sudo: Sudo): () => void {
    let answer = sudo.answer();
    return () => {
      if (answer === undefined) this.#channel.close();
      else this.#channel.write(answer);
      answer = undefined;
    };
  }

  #lostError(): BringupError {
    if (!this.#connection.isOpen) return this.#connection.lost;
    return new BringupError('connection-lost', `${this.#options.what} ended without saying how.`, { retryable: true });
  }

  #inputClosed(): BringupError {
    if (!this.#connection.isOpen) return this.#connection.lost;
    return new BringupError(
      'command-failed',
      `${this.#options.what} has ended or closed its input: no more can be written to it.`,
    );
  }

  /** ssh2 never calls back for input that the end of the channel cut off. */
  #untilDone(start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#blocked.add(resolve);
      start(() => {
        this.#blocked.delete(resolve);
        resolve();
      });
    });
  }
}
