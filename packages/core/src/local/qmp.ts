import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { BringupError, type JsonValue } from '../errors.ts';

type QmpObject = { readonly [key: string]: JsonValue | undefined };

interface PendingCommand {
  readonly command: string;
  readonly resolve: (value: JsonValue) => void;
  readonly reject: (error: Error) => void;
}

/** More than any answer we ask for; a peer that sends a longer line is not QMP. */
const maxLineLength = 1024 * 1024;

/**
 * A QMP session: QEMU's control protocol, JSON objects one a line
 * (https://www.qemu.org/docs/master/interop/qmp-spec.html). Owns its stream.
 */
export class Qmp implements Disposable {
  readonly #stream: Duplex;
  readonly #pending = new Map<number, PendingCommand>();
  readonly #greeted = Promise.withResolvers<void>();
  readonly #decoder = new StringDecoder('utf8');
  readonly #listeners = new Set<(event: string) => void>();
  #line = '';
  #commands = 0;
  #ended: BringupError | undefined;

  private constructor(stream: Duplex) {
    this.#stream = stream;
    this.#greeted.promise.catch(() => {});
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (error) => this.#end(lost(error)));
    stream.on('close', () => this.#end(lost(undefined)));
    stream.on('end', () => this.#end(lost(undefined)));
  }

  /**
   * Waits for QEMU's greeting and enters command mode. Disposes the stream when that fails.
   * @throws `connection-lost`, `hypervisor-failed`, or the signal's reason.
   */
  static async open(stream: Duplex, signal: AbortSignal): Promise<Qmp> {
    const qmp = new Qmp(stream);
    const onAbort = (): void => qmp.#end(signal.reason as BringupError);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      signal.throwIfAborted();
      await qmp.#greeted.promise;
      await qmp.execute('qmp_capabilities');
      return qmp;
    } catch (error) {
      qmp[Symbol.dispose]();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Runs a command.
   * @throws `hypervisor-failed` with QEMU's own words, `connection-lost`.
   */
  execute(command: string, args?: { readonly [key: string]: JsonValue }): Promise<JsonValue> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = (this.#commands += 1);
    const { promise, resolve, reject } = Promise.withResolvers<JsonValue>();
    this.#pending.set(id, { command, resolve, reject });
    this.#stream.write(`${JSON.stringify({ execute: command, id, ...(args && { arguments: args }) })}\n`);
    return promise;
  }

  /** Tells about what happens, by its name, until the session ends. */
  onEvent(listener: (event: string) => void): void {
    this.#listeners.add(listener);
  }

  [Symbol.dispose](): void {
    this.#end(new BringupError('connection-lost', 'The QMP session was closed.'));
  }

  #receive(chunk: Buffer): void {
    const lines = (this.#line + this.#decoder.write(chunk)).split('\n');
    this.#line = lines.pop() ?? '';
    if (this.#line.length > maxLineLength) this.#end(lost(new Error('a line is too long')));
    for (const line of lines) if (line.trim() !== '') this.#understand(line);
  }

  #understand(line: string): void {
    const message = objectOf(line);
    if (message === undefined) {
      this.#end(lost(new Error('a line is no JSON object')));
      return;
    }
    if ('QMP' in message) this.#greeted.resolve();
    const { event } = message;
    if (typeof event === 'string') for (const listener of this.#listeners) listener(event);
    const command = this.#pending.get(Number(message['id']));
    if (command === undefined) return;
    this.#pending.delete(Number(message['id']));
    const { error } = message;
    if (error === undefined) command.resolve(message['return'] ?? null);
    else command.reject(refused(command.command, isObject(error) ? error : {}));
  }

  #end(reason: BringupError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#stream.destroy();
    this.#greeted.reject(reason);
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
    this.#listeners.clear();
  }
}

/** Longest of QEMU's words in an error. */
const quotedChars = 500;

function refused(command: string, error: QmpObject): BringupError {
  const words = (value: unknown): string | undefined =>
    typeof value === 'string' ? value.slice(0, quotedChars) : undefined;
  return new BringupError(
    'hypervisor-failed',
    `QEMU refused ${command}: ${words(error['desc']) ?? 'no reason given'}`,
    { details: { command, class: words(error['class']) ?? '' } },
  );
}

function isObject(value: unknown): value is QmpObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectOf(line: string): QmpObject | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function lost(cause: unknown): BringupError {
  return new BringupError('connection-lost', 'The QMP connection to QEMU was lost.', { cause, retryable: true });
}
