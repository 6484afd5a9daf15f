import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { serial } from '@bringup/connector-serial';
import { ConsoleSession, type ConsoleConnector, type Pattern } from '@bringup/core';
import { median, printTable, type Bench } from './bench.ts';

const rounds = 5;
const oneConsoleBytes = 64 * 1024 * 1024;
const manyConsoles = 100;
const eachBytesPerSecond = 100_000;
const manySeconds = 20;

/** What is looked for all the time; only the first one comes, at the end. */
const patterns: readonly Pattern[] = [
  'board login: ',
  'Kernel panic',
  /Unable to handle kernel .* at virtual address/,
  /BUG: KASAN: \S+ in \S+/,
  /^Oops: /,
  /rcu: INFO: rcu_\w+ (?:self-)?detected stall/,
  /Hit any key to stop autoboot/,
  /[#$] $/,
];

/** Consoles over TCP, each logged to a file first and then matched; the machines are another process. */
export const bench: Bench = {
  name: 'console',
  describe: 'console output logged and matched: one as fast as it goes, and 100 at 100 kB/s each',
  async run() {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-'));
    try {
      // First, so that its memory is its own.
      const many = await hundredConsoles(folder);
      const speeds: number[] = [];
      for (let round = 0; round < rounds; round += 1) speeds.push(await oneConsole(folder));
      printTable(
        ['consoles', 'MB/s', '% of a core', 'RSS, MB', 'logs'],
        [
          ['1', median(speeds), '', '', 'byte-equal'],
          [`${manyConsoles}`, many.mbPerSecond, many.corePercent, many.rssMb, 'byte-equal'],
        ],
      );
      return { mb_per_s: median(speeds), consoles100_core_percent: many.corePercent, consoles100_rss_mb: many.rssMb };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function oneConsole(folder: string): Promise<number> {
  await using machine = await Talker.start(oneConsoleBytes, 0);
  await using connector = serial();
  const startedAt = performance.now();
  const bytes = await followConsole(connector, machine.device(0), join(folder, 'log'));
  const seconds = (performance.now() - startedAt) / 1_000;
  await checkLogs([join(folder, 'log')], machine, 1);
  return bytes / 1e6 / seconds;
}

async function hundredConsoles(folder: string) {
  await using machine = await Talker.start(eachBytesPerSecond * manySeconds, eachBytesPerSecond);
  await using connector = serial();
  const logs = Array.from({ length: manyConsoles }, (_, n) => join(folder, `log${n}`));
  let rssBytes = 0;
  const sampling = setInterval(() => (rssBytes = Math.max(rssBytes, process.memoryUsage.rss())), 250);
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const sizes = await Promise.all(logs.map((log, n) => followConsole(connector, machine.device(n), log)));
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  clearInterval(sampling);
  await checkLogs(logs, machine, manyConsoles);
  return {
    corePercent: ((user + system) / 1_000 / elapsedMs) * 100,
    rssMb: rssBytes / 1024 / 1024,
    mbPerSecond: sizes.reduce((sum, size) => sum + size, 0) / 1e3 / elapsedMs,
  };
}

/** Follows a console until its login prompt; gives the bytes it said. */
async function followConsole(connector: ConsoleConnector, device: string, log: string): Promise<number> {
  await using file = await open(log, 'w');
  await using console = await connector.open({ name: device, device, baudRate: 115_200 });
  let bytes = 0;
  await using session = new ConsoleSession({
    console,
    sink: async (chunk) => {
      bytes += chunk.length;
      await file.write(chunk);
    },
  });
  const outcome = await session.expect(patterns, { timeoutMs: 300_000 });
  if (outcome.type !== 'match' || outcome.index !== 0) throw new Error(`expected a login, got ${outcome.type}`);
  return bytes;
}

/** Every log must be what one of the machine's consoles said, byte for byte. */
async function checkLogs(logs: readonly string[], machine: Talker, count: number): Promise<void> {
  const said = (await machine.hashes(count)).toSorted();
  const logged: string[] = [];
  for (const log of logs) {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(log)) hash.update(chunk as Buffer);
    logged.push(hash.digest('hex'));
  }
  if (said.join() !== logged.toSorted().join()) throw new Error('a log is not what its console said');
}

/** The machines: one process, one port; each connection is a console of its own. */
class Talker implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #port: number;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, port: number) {
    this.#child = child;
    this.#lines = lines;
    this.#port = port;
  }

  static async start(bytes: number, bytesPerSecond: number): Promise<Talker> {
    const script = join(import.meta.dirname, '..', 'fixtures', 'talker.ts');
    const child = spawn(process.execPath, [script, String(bytes), String(bytesPerSecond)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return new Talker(child, lines, Number((await lines.next()).value));
  }

  /** A loopback address a console: the connector holds each once. */
  device(n: number): string {
    return `tcp://127.0.${Math.floor(n / 250)}.${(n % 250) + 1}:${this.#port}`;
  }

  async hashes(count: number): Promise<string[]> {
    const hashes: string[] = [];
    while (hashes.length < count) hashes.push(String((await this.#lines.next()).value));
    return hashes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
  }
}
