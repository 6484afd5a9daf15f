import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { ConsoleReader } from '@bringup/core/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LibvirtSession } from '../../src/index.ts';
import { startLocalHost } from './host.ts';
import type { LocalHost } from './host.ts';

let host: LocalHost;
let session: LibvirtSession;
beforeAll(async () => {
  host = await startLocalHost();
  session = await host.connect();
});
afterAll(() => host[Symbol.asyncDispose]());

const descriptors = async (pid: number | 'self'): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;

test('a console that another client grabs by force says so, and can be had again from where it was', async () => {
  await session.createVm(host.spec('grabbed'));
  const console = await session.openConsole('grabbed');
  const reader = new ConsoleReader(console);
  await session.startVm('grabbed');
  await reader.until('\r\n');
  const heard = reader.bytes.length;
  // virsh wants a terminal.
  const robber = spawn('script', ['-qefc', `virsh -c '${host.daemon.uri}' console --force grabbed`, '/dev/null'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  await expect(reader.ended).rejects.toMatchObject({
    code: 'console-busy',
    retryable: true,
    details: { reason: 'taken-over' },
  });
  await expect(console.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'console-busy' });
  await expect(session.openConsole('grabbed')).rejects.toMatchObject({ code: 'console-busy' });
  await console[Symbol.asyncDispose]();
  robber.stdin.write('while away;');
  const ended = new Promise((resolve) => robber.once('exit', resolve));
  robber.kill('SIGTERM');
  await ended;
  const again = await reopened(() => session.openConsole('grabbed', { offset: heard }));
  const rest = new ConsoleReader(again);
  await again.write(Buffer.from('mine again'));
  expect((await rest.until('mine again')).endsWith('mine again')).toBe(true);
  await session.destroyVm('grabbed');
});

/** The robber's connection may take a moment to be gone. */
async function reopened<T>(open: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await open();
    } catch (error) {
      if (attempt === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

test(
  'a console opened and closed two hundred times leaves nothing open, here or in the daemon',
  { timeout: 120_000 },
  async () => {
    await session.createVm(host.spec('often'));
    await session.startVm('often');
    const daemonPid = await host.daemon.daemonPid();
    const round = async (): Promise<void> => {
      const console = await session.openConsole('often');
      await console[Symbol.asyncDispose]();
    };
    for (let warm = 0; warm < 3; warm += 1) await round();
    const before = [await descriptors('self'), await descriptors(daemonPid)];
    for (let count = 0; count < 200; count += 1) await round();
    const after = [await descriptors('self'), await descriptors(daemonPid)];
    expect(after[0]).toBeLessThanOrEqual((before[0] ?? 0) + 2);
    expect(after[1]).toBeLessThanOrEqual((before[1] ?? 0) + 2);
    await session.destroyVm('often');
  },
);
