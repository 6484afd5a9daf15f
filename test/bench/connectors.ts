import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { randomFillSync } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ssh } from '@bringup/connector-ssh';
import type { ByteSource, ShellSession } from '@bringup/core';
import { startSshd, type Sshd } from '../fixtures/sshd.ts';
import { alternate, timed, type Bench } from './bench.ts';
import { printTable } from './bench.ts';

const run = promisify(execFile);
const fileMib = 256;
const logMib = 500;
const blockBytes = 1024 * 1024;
const gcm = 'aes128-gcm@openssh.com';

/** Commands, transfers and logs over SSH, against OpenSSH's own client and the same sshd. */
export const bench: Bench = {
  name: 'connectors',
  describe: 'commands, verified 256 MiB transfers and a 500 MB log over SSH, against ssh and scp on the same sshd',
  async run() {
    const dir = await mkdtemp(join(tmpdir(), 'bringup-bench-'));
    await using sshd = await startSshd();
    const client = new OpenSsh(sshd, dir);
    try {
      await using connector = ssh({ knownHosts: [sshd.knownHosts] });
      await using session = await connector.connect(sshd.target);
      const results: Record<string, number> = {};
      Object.assign(results, await benchCommands(session, client));
      Object.assign(results, await benchTransfers(session, client, dir));
      Object.assign(results, await benchLog(session, client, dir));
      return results;
    } finally {
      await client.stopMaster();
      await rm(dir, { recursive: true, force: true });
    }
  },
};

/** OpenSSH's client, set up for one server. */
class OpenSsh {
  readonly #options: readonly string[];
  readonly #control: readonly string[];
  readonly #host: string;
  readonly port: number;

  constructor(sshd: Sshd, dir: string) {
    this.port = sshd.port;
    this.#host = `${sshd.target.username}@127.0.0.1`;
    this.#options = [
      '-F',
      '/dev/null',
      '-i',
      sshd.keyPath,
      '-o',
      `UserKnownHostsFile=${sshd.knownHosts}`,
      '-o',
      'BatchMode=yes',
    ];
    this.#control = ['-S', join(dir, 'control')];
  }

  async startMaster(): Promise<void> {
    // The master goes into the background with its output: none of it may be a pipe of ours.
    const master = spawn('ssh', [...this.#options, '-p', `${this.port}`, ...this.#control, '-MNf', this.#host], {
      stdio: 'ignore',
    });
    await once(master, 'exit');
  }

  async stopMaster(): Promise<void> {
    await run('ssh', [...this.#options, ...this.#control, '-O', 'exit', this.#host]).catch(() => undefined);
  }

  async throughMaster(command: string): Promise<void> {
    await run('ssh', [...this.#options, '-p', `${this.port}`, ...this.#control, this.#host, command]);
  }

  async ssh(command: string, cipher?: string): Promise<string> {
    const { stdout } = await run('ssh', [...this.#with(cipher), '-p', `${this.port}`, this.#host, command]);
    return stdout;
  }

  async upload(local: string, remote: string, cipher?: string): Promise<void> {
    await run('scp', [...this.#with(cipher), '-q', '-P', `${this.port}`, local, `${this.#host}:${remote}`]);
  }

  async download(remote: string, local: string, cipher?: string): Promise<void> {
    await run('scp', [...this.#with(cipher), '-q', '-P', `${this.port}`, `${this.#host}:${remote}`, local]);
  }

  /** Lines of a remote file, counted here. */
  async lines(remote: string, cipher: string): Promise<number> {
    const line = 'c=$1; shift; ssh "$@" "cat $c" | wc -l';
    const { stdout } = await run('sh', [
      '-c',
      line,
      'sh',
      remote,
      ...this.#with(cipher),
      '-p',
      `${this.port}`,
      this.#host,
    ]);
    return Number(stdout);
  }

  #with(cipher: string | undefined): readonly string[] {
    return cipher === undefined ? this.#options : [...this.#options, '-c', cipher];
  }
}

async function benchCommands(session: ShellSession, client: OpenSsh): Promise<Record<string, number>> {
  await client.startMaster();
  const ours = async (): Promise<unknown> => session.exec(['true']);
  const theirs = (): Promise<unknown> => client.throughMaster('true');
  const one = await alternate({
    ours: async () => perSecond(400, 1, ours),
    theirs: async () => perSecond(60, 1, theirs),
  });
  const ten = await alternate({
    ours: async () => perSecond(1000, 10, ours),
    theirs: async () => perSecond(150, 10, theirs),
  });
  printTable(
    ['commands per second', 'ours', 'ControlMaster', 'ratio'],
    [
      ['one at a time', one.ours, one.theirs, one.ours / one.theirs],
      ['ten at a time', ten.ours, ten.theirs, ten.ours / ten.theirs],
    ],
  );
  return { exec_vs_controlmaster: one.ours / one.theirs, exec10_vs_controlmaster: ten.ours / ten.theirs };
}

/** Rate of an operation with that many under way at a time. */
async function perSecond(count: number, concurrency: number, operation: () => Promise<unknown>): Promise<number> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await operation();
    }
  };
  const ms = await timed(() => Promise.all(Array.from({ length: concurrency }, worker)));
  return (count / ms) * 1000;
}

async function benchTransfers(session: ShellSession, client: OpenSsh, dir: string): Promise<Record<string, number>> {
  const local = join(dir, 'image');
  const remote = join(dir, 'remote');
  await makeFile(local);
  const rate = async (transfer: () => Promise<unknown>, target: string): Promise<number> => {
    const figure = fileMib / ((await timed(transfer)) / 1000);
    await rm(target);
    return figure;
  };
  const theirUpload = (cipher?: string) => (): Promise<number> =>
    rate(async () => {
      await client.upload(local, remote, cipher);
      await client.ssh(`sha256sum ${remote}`, cipher);
    }, remote);
  const theirDownload = (cipher?: string) => (): Promise<number> =>
    rate(async () => {
      await client.download(local, remote, cipher);
      await client.ssh(`sha256sum ${local}`, cipher);
    }, remote);
  const up = await alternate({
    ours: () => rate(() => session.upload(fileSource(local), remote), remote),
    theirs: theirUpload(),
    gcm: theirUpload(gcm),
  });
  const down = await alternate({
    ours: () => rate(() => saveDownload(session, local, remote), remote),
    theirs: theirDownload(),
    gcm: theirDownload(gcm),
  });
  printTable(
    ['MiB/s, verified', 'ours', 'scp', 'ratio', 'scp, aes128-gcm', 'ratio'],
    [
      ['upload', up.ours, up.theirs, up.ours / up.theirs, up.gcm, up.ours / up.gcm],
      ['download', down.ours, down.theirs, down.ours / down.theirs, down.gcm, down.ours / down.gcm],
    ],
  );
  return {
    upload_vs_scp: up.ours / up.theirs,
    download_vs_scp: down.ours / down.theirs,
    upload_vs_scp_gcm: up.ours / up.gcm,
    download_vs_scp_gcm: down.ours / down.gcm,
  };
}

async function makeFile(path: string): Promise<void> {
  const file = await open(path, 'w');
  const block = Buffer.alloc(blockBytes);
  for (let written = 0; written < fileMib; written += 1) await file.write(randomFillSync(block));
  await file.sync();
  await file.close();
}

function fileSource(path: string): ByteSource {
  return {
    sizeBytes: fileMib * 1024 * 1024,
    async *read(offset = 0): AsyncIterable<Uint8Array> {
      await using file = await open(path);
      const block = Buffer.allocUnsafe(blockBytes);
      for (let at = offset; ;) {
        const { bytesRead } = await file.read(block, 0, block.length, at);
        if (bytesRead === 0) return;
        at += bytesRead;
        yield block.subarray(0, bytesRead);
      }
    },
  };
}

async function saveDownload(session: ShellSession, remote: string, local: string): Promise<void> {
  await using file = await open(local, 'w');
  for await (const chunk of session.download(remote)) await file.write(chunk);
}

async function benchLog(session: ShellSession, client: OpenSsh, dir: string): Promise<Record<string, number>> {
  const log = join(dir, 'log');
  const expected = await makeLog(log);
  const check = (lines: number): void => {
    if (lines !== expected) throw new Error(`counted ${lines} lines, not ${expected}`);
  };
  const rates = await alternate({
    ours: async () => logMib / ((await timed(async () => check(await countLines(session, log)))) / 1000),
    theirs: async () => logMib / ((await timed(async () => check(await client.lines(log, gcm)))) / 1000),
  });
  printTable(
    ['MiB/s of log, in lines', 'ours', 'ssh cat | wc -l', 'ratio'],
    [['500 MiB', rates.ours, rates.theirs, rates.ours / rates.theirs]],
  );
  return { log_vs_ssh: rates.ours / rates.theirs };
}

/** Writes a log like a kernel's; gives its number of lines. */
async function makeLog(path: string): Promise<number> {
  const lines = Array.from(
    { length: 10_000 },
    (_, n) =>
      `[${(n / 7).toFixed(6).padStart(12)}] pcieport 0000:00:1c.${n % 8}: chip_${n}: link up, ${n * 7} Mbps, full duplex\n`,
  );
  const block = Buffer.from(lines.join(''));
  const blocks = Math.ceil((logMib * 1024 * 1024) / block.length);
  await writeFile(
    path,
    Array.from({ length: blocks }, () => block),
  );
  return blocks * lines.length;
}

async function countLines(session: ShellSession, path: string): Promise<number> {
  await using process = await session.spawn(['cat', path]);
  let lines = 0;
  for await (const chunk of process.stdout) {
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, end + 1)) lines += 1;
  }
  return lines;
}
