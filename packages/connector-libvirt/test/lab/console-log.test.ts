import type { Console, Hypervisor } from '@bringup/core';
import { ConsoleReader } from '@bringup/core/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startLocalHost } from './host.ts';
import type { LocalHost } from './host.ts';

// Small, so that a test sees many rotations: virtlogd keeps this file and three older ones.
const logMaxBytes = 4096;

let host: LocalHost;
let hypervisor: Hypervisor;
beforeAll(async () => {
  host = await startLocalHost({ logMaxBytes });
  hypervisor = await host.connect();
});
afterAll(() => host[Symbol.asyncDispose]());

/** Lines that tell where they are, so that a gap or a repeat shows. */
function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, index) => `line ${String(from + index).padStart(6, '0')}\n`).join('');
}

/** Says lines through the guest's echo, in pieces it can swallow, and waits for each. */
async function say(console: Console, reader: ConsoleReader, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += 20) {
    await console.write(Buffer.from(lines(at, Math.min(at + 20, to))));
    await reader.until(lines(Math.min(at + 19, to - 1), Math.min(at + 20, to)));
  }
}

async function talkingVm(name: string): Promise<{ readonly console: Console; readonly reader: ConsoleReader }> {
  await hypervisor.createVm(host.spec(name));
  const console = await hypervisor.openConsole(name);
  const reader = new ConsoleReader(console);
  await hypervisor.startVm(name);
  await reader.until('\r\n');
  return { console, reader };
}

test('a console opened late follows the log across many rotations, byte for byte', async () => {
  const { console: first, reader: early } = await talkingVm('rotating');
  await say(first, early, 0, 100);
  await first[Symbol.asyncDispose]();

  const late = await hypervisor.openConsole('rotating');
  const reader = new ConsoleReader(late);
  await reader.until(lines(99, 100));
  await say(late, reader, 100, 3_000);
  expect(reader.text.slice(reader.text.indexOf('\r\n') + 2)).toBe(lines(0, 3_000));
  expect(reader.bytes.length).toBeGreaterThan(8 * logMaxBytes);
  await late[Symbol.asyncDispose]();

  // What was followed once stays readable, however far virtlogd has gone on.
  const offset = early.bytes.length - 11;
  const again = new ConsoleReader(await hypervisor.openConsole('rotating', { offset }));
  await again.until(lines(2_999, 3_000));
  expect(again.text).toBe(reader.text.slice(offset));
});

test('a short log is whole after rotations that nobody watched', async () => {
  const { console, reader } = await talkingVm('kept');
  await say(console, reader, 0, 900);
  expect(reader.bytes.length).toBeGreaterThan(2 * logMaxBytes);
  await console[Symbol.asyncDispose]();
  const late = new ConsoleReader(await hypervisor.openConsole('kept'));
  await late.until(lines(899, 900));
  expect(late.text).toBe(reader.text);
});

test('history that was rotated away unwatched is reported as lost, not skipped', async () => {
  const { console, reader } = await talkingVm('lost');
  await say(console, reader, 0, 3_000);
  await console[Symbol.asyncDispose]();
  await expect(hypervisor.openConsole('lost', { offset: 2 * logMaxBytes })).rejects.toMatchObject({
    code: 'console-history-lost',
  });
});
