import { spawn, type ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

/** How a run of the program ended. */
export interface Ended {
  /** What it wrote to standard output. */
  readonly output: string;
  readonly errors: string;
  /** Exit status, or the signal that ended it. */
  readonly status: number | NodeJS.Signals | null;
}

/** A run of the program. */
export interface RunningExample {
  /** Resolves when the output has the text; rejects when the program ends without having said it. */
  said(text: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
}

/** A copy of the example whose BSP a test may change. */
export class CopiedExample implements AsyncDisposable {
  readonly folder: string;
  readonly #runs: ChildProcess[] = [];

  constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<CopiedExample> {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-quickstart-'));
    for (const part of ['src', 'bsp', 'linux', 'package.json']) {
      await cp(join(root, 'examples/quickstart', part), join(folder, part), {
        recursive: true,
        filter: (path) => basename(path) !== 'build',
      });
    }
    await mkdir(join(folder, 'node_modules/@bringup'), { recursive: true });
    await symlink(join(root, 'packages/core'), join(folder, 'node_modules/@bringup/core'));
    return new CopiedExample(folder);
  }

  /** Changes a file of the BSP. */
  edit(file: string, from: string | RegExp, to: string): Promise<void> {
    return this.#edit(join('bsp', file), from, to);
  }

  /** Changes what the program asks of the lab. */
  editPlan(from: string, to: string): Promise<void> {
    return this.#edit('src/plan.ts', from, to);
  }

  async #edit(file: string, from: string | RegExp, to: string): Promise<void> {
    const path = join(this.folder, file);
    const text = await readFile(path, 'utf8');
    const changed = text.replace(from, to);
    if (changed === text) throw new Error(`${file} has no ${String(from)}`);
    await writeFile(path, changed);
  }

  start(...args: readonly string[]): RunningExample {
    const argv = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning', 'src/main.ts', ...args];
    const { INIT_CWD: _npm, ...env } = process.env;
    const child = spawn(process.execPath, argv, { cwd: this.folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#runs.push(child);
    let output = '';
    let errors = '';
    const listeners = new Set<() => void>();
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      for (const listener of listeners) listener();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const ended = new Promise<Ended>((resolve) => {
      child.on('close', (code, signal) => resolve({ output, errors, status: code ?? signal }));
    });
    const said = (text: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (output.includes(text)) resolve();
        };
        listeners.add(look);
        look();
        void ended.then((end) =>
          reject(new Error(`ended with ${end.status} and never said "${text}":\n${end.output}${end.errors}`)),
        );
      });
    return { said, ended, kill: (signal) => void child.kill(signal) };
  }

  run(...args: readonly string[]): Promise<Ended> {
    return this.start(...args).ended;
  }

  /** Command lines of the processes that work in the copy's state folder or name it. */
  async processes(): Promise<string[]> {
    const state = join(this.folder, '.bringup');
    const found: string[] = [];
    for (const pid of await readdir('/proc')) {
      if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
      const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ');
      const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '');
      if (command.includes(state) || folder.startsWith(state)) found.push(`${pid}: ${command}`);
    }
    return found;
  }

  /** Folders of builds and VMs that are in the workspace. */
  async leftovers(): Promise<string[]> {
    const workspace = join(this.folder, '.bringup/workspace');
    const builds = await readdir(join(workspace, 'builds/builds'));
    // Hidden files are what the host knows of itself, and folders on their way in or out.
    const vms = (await readdir(join(workspace, 'vms/vms')).catch(() => [])).filter((name) => !name.endsWith('.json'));
    return [...builds, ...vms];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#runs) child.kill('SIGKILL');
    for (const line of await this.processes()) process.kill(Number(line.split(':')[0]), 'SIGKILL');
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
