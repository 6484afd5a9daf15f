import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** Two ttys that are wired to each other: the console's, and the machine's. */
export class TtyPair implements AsyncDisposable {
  readonly ours: string;
  readonly #dir: string;
  readonly #socat: ChildProcess;
  readonly #machine: FileHandle;
  readonly #received: Uint8Array[] = [];
  /** What socat had written before anything was said. */
  readonly #before: number;
  #said = 0;
  #changed = Promise.withResolvers<void>();

  private constructor(dir: string, socat: ChildProcess, machine: FileHandle, before: number) {
    this.#dir = dir;
    this.#before = before;
    this.ours = join(dir, 'ours');
    this.#socat = socat;
    this.#machine = machine;
    void this.#listen();
  }

  static async make(): Promise<TtyPair> {
    const dir = await mkdtemp(join(tmpdir(), 'bringup-tty-'));
    const [ours, machine] = [join(dir, 'ours'), join(dir, 'machine')];
    const tty = (path: string): string => `pty,raw,echo=0,link=${path}`;
    const socat = spawn('socat', [tty(ours), tty(machine)], { stdio: 'inherit' });
    await Promise.race([appears(ours, machine), failed(socat)]);
    return new TtyPair(dir, socat, await open(machine, 'r+'), await written(socat));
  }

  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  /** Resolves when the bytes are where the console's side reads them. */
  async say(bytes: Uint8Array): Promise<void> {
    this.#said += bytes.length;
    await this.#machine.write(bytes);
    const carried = async (): Promise<number> => (await written(this.#socat)) - this.#before - this.received.length;
    while ((await carried()) < this.#said) await pause(1);
  }

  async until(count: number): Promise<Buffer> {
    while (this.received.length < count) await this.#changed.promise;
    return this.received;
  }

  cut(): void {
    this.#socat.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    if (this.#socat.exitCode === null && this.#socat.signalCode === null) await once(this.#socat, 'exit');
    await this.#machine.close();
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #listen(): Promise<void> {
    const buffer = Buffer.alloc(4_096);
    try {
      for (;;) {
        const { bytesRead } = await this.#machine.read(buffer);
        if (bytesRead === 0) return;
        this.#received.push(Uint8Array.from(buffer.subarray(0, bytesRead)));
        this.#changed.resolve();
        this.#changed = Promise.withResolvers();
      }
    } catch {
      // The other end is gone.
    }
  }
}

/** Bytes that it has written. https://docs.kernel.org/filesystems/proc.html#proc-pid-io-display-the-io-accounting-fields */
async function written({ pid }: ChildProcess): Promise<number> {
  const counted = await readFile(`/proc/${pid}/io`, 'utf8');
  return Number(/^wchar: (\d+)$/m.exec(counted)?.[1]);
}

async function appears(...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    while (
      await access(path).then(
        () => false,
        () => true,
      )
    )
      await pause(10);
  }
}

async function failed(socat: ChildProcess): Promise<never> {
  const [error] = await Promise.race([once(socat, 'error'), once(socat, 'exit')]);
  throw new Error('socat does not run', { cause: error });
}
