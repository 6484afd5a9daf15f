import { spawn } from 'node:child_process';
import type { Console } from '../../src/contracts/console.ts';
import type { Random } from '../../src/contracts/runtime.ts';

/** A console with a real `sh` behind it: on plain pipes, or on a terminal that echoes and says CRLF. */
export function shellConsole(kind: 'pipe' | 'terminal', options: { readonly noise?: Random } = {}): Console {
  const argv =
    kind === 'pipe' ? ['sh', '-c', 'exec sh -i 2>&1'] : ['python3', '-c', 'import pty; pty.spawn(["sh", "-i"])'];
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    env: { ...process.env, PS1: '# ', TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const waiting: Uint8Array[] = [];
  let wake = (): void => {};
  let open = true;
  const push = (data: Buffer): void => {
    waiting.push(options.noise === undefined ? data : withNoise(data, options.noise));
    wake();
  };
  child.stdout.on('data', push);
  child.stderr.on('data', push);
  child.stdin.on('error', () => {});
  child.on('close', () => {
    open = false;
    wake();
  });
  async function* output(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = waiting.shift();
      if (chunk !== undefined) yield chunk;
      else if (!open) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  return {
    output: output(),
    async write(data) {
      child.stdin.write(data);
    },
    async [Symbol.asyncDispose]() {
      child.stdin.destroy();
      child.kill('SIGKILL');
    },
  };
}

/** Cuts kernel messages into the bytes, anywhere but inside a line end. */
function withNoise(data: Buffer, random: Random): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = 0; at < data.length; at += 1) {
    if (random.next() > 0.03 || data[at] === 0x0a) continue;
    parts.push(
      data.subarray(from, at),
      Buffer.from(`[${(at / 7).toFixed(6).padStart(12)}] random: crng init done\r\n`),
    );
    from = at;
  }
  return Buffer.concat([...parts, data.subarray(from)]);
}
