import { spawn } from 'node:child_process';

/** Runs named steps one after the other, says how each went, and counts. */
export class Steps {
  #passed = 0;
  #failed = 0;

  /** Runs a step. @returns whether it passed; a failed one has been reported already. */
  async run(name: string, step: () => Promise<void>): Promise<boolean> {
    try {
      await step();
      this.#passed += 1;
      console.log(`ok     ${name}`);
      return true;
    } catch (error) {
      this.#failed += 1;
      console.log(`FAILED ${name}\n${indent(error instanceof Error ? error.message : String(error))}`);
      return false;
    }
  }

  /** Prints the sum as the last line and sets the exit status. */
  finish(): void {
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    process.exitCode = this.#failed === 0 ? 0 : 1;
  }
}

/** Options of {@link run}. */
export interface RunOptions {
  readonly cwd: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default five minutes. */
  readonly timeoutMs?: number;
}

/** Runs a command; returns its standard output. @throws Error with all it said when it fails. */
export function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<string> {
  const [file, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: options.cwd,
      // Packed packages lie somewhere else each time.
      env: { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 300_000,
    });
    let stdout = '';
    let all = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      all += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      all += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${argv.join(' ')} ended with ${signal ?? `status ${code}`}:\n${all.trimEnd()}`));
    });
  });
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '       ');
}
