import {
  BringupError,
  limits,
  type ShellConnector,
  type ShellProcess,
  type ShellSession,
  type ShellTarget,
} from '@bringup/core';
import type { Carrier, CarrierSink } from './carrier.ts';
import type { LineSettings } from './device.ts';

/** A machine that boards are plugged into, and how it is reached. */
export interface SerialExporter {
  /** Such as `ssh()` of `@bringup/connector-ssh`; it stays the caller's. */
  readonly connector: ShellConnector;
  readonly target: ShellTarget;
}

const ready = 'bringup-tty\n';
const exitCodes = { notFound: 66, failed: 69, busy: 75 } as const;

/**
 * Connects a device with standard input and output. Needs `sh`, `stty`, `cat` and `dd`; `flock` where
 * there is one keeps others off. What waits in the device is read away first: a read gives up after a
 * tenth of a second.
 */
const script = `
dev=$1
shift
[ -c "$dev" ] || exit ${exitCodes.notFound}
stty -F "$dev" clocal || exit ${exitCodes.failed}
exec 3<>"$dev" || exit ${exitCodes.failed}
if command -v flock >/dev/null 2>&1; then flock -n 3 || exit ${exitCodes.busy}; fi
stty raw -echo clocal min 0 time 1 "$@" <&3 || exit ${exitCodes.failed}
dd bs=4096 count=16 <&3 >/dev/null 2>&1
stty min 1 time 0 <&3 || exit ${exitCodes.failed}
printf ${JSON.stringify(ready.replace('\n', '\\n'))}
exec 4<&0
cat <&3 4<&- &
reader=$!
{ cat <&4 >&3; kill $reader; } >/dev/null 2>&1 &
wait $reader
`;

/** A tty of another machine, over a shell there. */
export class ExporterCarrier implements Carrier {
  readonly #session: ShellSession;
  readonly #process: ShellProcess;
  readonly #output: AsyncIterator<Uint8Array>;
  #first: Uint8Array = new Uint8Array();
  #resume: (() => void) | undefined;
  #paused: Promise<void> | undefined;

  private constructor(session: ShellSession, process: ShellProcess) {
    this.#session = session;
    this.#process = process;
    this.#output = process.stdout[Symbol.asyncIterator]();
  }

  /** @throws `not-found`, `console-busy`, `connection-failed`, and those of the shell. */
  static async open(
    exporter: SerialExporter,
    path: string,
    baudRate: number,
    settings: LineSettings,
    signal: AbortSignal,
  ): Promise<ExporterCarrier> {
    const session = await exporter.connector.connect(exporter.target, { signal });
    try {
      const argv = ['sh', '-c', script, 'sh', path, ...sttyArguments(baudRate, settings)];
      const carrier = new ExporterCarrier(session, await session.spawn(argv, { signal }));
      try {
        await carrier.#begin(path, exporter.target.hostname);
      } catch (error) {
        await carrier.close();
        throw error;
      }
      return carrier;
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  attach(sink: CarrierSink): void {
    void this.#pump(sink).then(
      () => sink.lost(new Error('the device is gone')),
      (error: unknown) => sink.lost(error),
    );
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => (this.#resume = resolve));
  }

  resume(): void {
    this.#paused = undefined;
    this.#resume?.();
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#process.write(bytes);
  }

  async close(): Promise<void> {
    this.resume();
    // The end of its input ends it; what hangs all the same is killed.
    await this.#process.end().catch(() => {});
    await this.#process.kill('SIGTERM').catch(() => {});
    await this.#process[Symbol.asyncDispose]();
    await this.#session[Symbol.asyncDispose]();
  }

  /** Reads up to the line that says that the device is open. */
  async #begin(path: string, hostname: string): Promise<void> {
    let said = Buffer.alloc(0);
    while (!said.includes('\n')) {
      const next = await this.#output.next();
      if (next.done === true) throw await this.#openError(path, hostname);
      said = Buffer.concat([said, next.value]);
      if (said.length > limits.serialErrorBytes && !said.includes('\n')) throw saysOther(path, hostname);
    }
    this.#first = said.subarray(said.indexOf('\n') + 1);
  }

  async #openError(path: string, hostname: string): Promise<BringupError> {
    const { exitCode } = await this.#process.exited;
    const details = { device: path, exporter: hostname };
    if (exitCode === exitCodes.notFound) {
      return new BringupError('not-found', `there is no device ${path} on ${hostname}; is it plugged in?`, { details });
    }
    if (exitCode === exitCodes.busy) {
      const message = `another program holds ${path} on ${hostname}`;
      return new BringupError('console-busy', message, { retryable: true, details });
    }
    const why = await readAll(this.#process.stderr);
    return new BringupError(
      'connection-failed',
      `can’t open ${path} on ${hostname}: ${why || `exit code ${exitCode}`}`,
      { details },
    );
  }

  async #pump(sink: CarrierSink): Promise<void> {
    if (this.#first.length > 0) sink.data(this.#first);
    for (let next = await this.#output.next(); next.done !== true; next = await this.#output.next()) {
      sink.data(next.value);
      await this.#paused;
    }
  }
}

function sttyArguments(baudRate: number, { dataBits, parity, stopBits, flow }: LineSettings): readonly string[] {
  const parities = {
    none: ['-parenb'],
    even: ['parenb', '-parodd', '-cmspar'],
    odd: ['parenb', 'parodd', '-cmspar'],
    space: ['parenb', '-parodd', 'cmspar'],
    mark: ['parenb', 'parodd', 'cmspar'],
  };
  return [
    String(baudRate),
    `cs${dataBits}`,
    stopBits === 1 ? '-cstopb' : 'cstopb',
    ...parities[parity],
    flow === 'hardware' ? 'crtscts' : '-crtscts',
    ...(flow === 'software' ? ['ixon', 'ixoff'] : ['-ixon', '-ixoff']),
  ];
}

/** Such as an account whose shell talks by itself. */
function saysOther(path: string, hostname: string): BringupError {
  return new BringupError(
    'connection-failed',
    `${hostname} says something else than that ${path} is open; does the account have a plain shell?`,
    { details: { device: path, exporter: hostname } },
  );
}

/** The first of what it says. */
async function readAll(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= limits.serialErrorBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, limits.serialErrorBytes).toString().trim();
}
