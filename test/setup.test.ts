import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const setup = fileURLToPath(new URL('../.ci/setup.mjs', import.meta.url));

/** Tells of every signal; ends with status 3 on SIGTERM. */
const listener = `
  process.on('SIGINT', () => console.log('SIGINT'));
  process.on('SIGTERM', () => { console.log('SIGTERM'); process.exit(3); });
  setInterval(() => {}, 1000);
  console.log('ready');
`;

function start(...command: string[]): { child: ChildProcess; lines: AsyncIterator<string>; said: string[] } {
  // A process group of its own, as a shell gives to what runs in the foreground.
  const child = spawn(process.execPath, [setup, ...command], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const said: string[] = [];
  const reader: Interface = createInterface({ input: child.stdout ?? process.stdin });
  reader.on('line', (line) => said.push(line));
  return { child, lines: reader[Symbol.asyncIterator](), said };
}

describe('the command that setup hands over to', () => {
  test.for([
    ['only setup', 1],
    ['the whole process group, as Ctrl-C does', -1],
  ] as const)('gets a signal once when it was sent to %s', async ([, sign]) => {
    const { child, lines, said } = start(process.execPath, '-e', listener);
    const ended = once(child, 'close');
    await lines.next();
    process.kill(sign * (child.pid ?? 0), 'SIGINT');
    await lines.next();
    // What setup sends on arrives in order: a second SIGINT would come before this.
    process.kill(child.pid ?? 0, 'SIGTERM');
    expect(await ended).toEqual([3, null]);
    expect(said).toEqual(['ready', 'SIGINT', 'SIGTERM']);
  });

  test('decides the exit status', async () => {
    const { child } = start('sh', '-c', 'exit 7');
    expect(await once(child, 'close')).toEqual([7, null]);
  });

  test('decides the signal that ends setup', async () => {
    const { child } = start('sh', '-c', 'kill -KILL $$');
    expect(await once(child, 'close')).toEqual([null, 'SIGKILL']);
  });

  test('gets its arguments as they were given', async () => {
    const { child, said } = start('printf', '<%s>\\n', 'two words', '--linux', '$HOME');
    await once(child, 'close');
    expect(said).toEqual(['<two words>', '<--linux>', '<$HOME>']);
  });
});
