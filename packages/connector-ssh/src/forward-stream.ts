import { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import type { Connection } from './connection.ts';

/**
 * A forwarded channel as a stream that keeps to Node's rules: ssh2's own channels neither emit
 * `close` when destroyed nor tell a lost connection from an orderly end.
 */
export class ForwardStream extends Duplex {
  readonly #channel: ClientChannel;
  readonly #unwatch: () => void;

  constructor(channel: ClientChannel, connection: Connection) {
    super();
    this.#channel = channel;
    this.#unwatch = connection.watch(() => this.destroy(connection.lost));
    channel.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) channel.pause();
    });
    channel.on('end', () => {
      // The end of a cut connection looks the same; its watcher runs first.
      if (!this.destroyed) this.push(null);
    });
    channel.on('error', (error: Error) => this.destroy(error));
    channel.on('close', () => {
      // Nothing takes what is still to be written; what was read may still be consumed.
      if (this.writableFinished) return;
      if (this.readableEnded) this.destroy();
      else this.once('end', () => this.destroy());
    });
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#channel.write(chunk, done);
  }

  /** What was written in one turn goes as one: an SSH connection through this one writes in small parts. */
  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#channel.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#channel.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#unwatch();
    this.#channel.close();
    this.#channel.resume();
    done(error);
  }
}
