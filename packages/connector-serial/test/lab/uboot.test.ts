import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { ConsoleSession, tftpFolder, UBoot, ubootFlash, type ByteSource, type Console } from '@bringup/core';
import { flashContract } from '@bringup/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serial } from '../../src/index.ts';
import { UBootBoard } from '../support/uboot-board.ts';

const sum = (bytes: Uint8Array): string => crc32(bytes).toString(16).padStart(8, '0');

const sourceOf = (bytes: Uint8Array): ByteSource => ({
  sizeBytes: bytes.length,
  async *read() {
    yield bytes;
  },
});

describe('a real U-Boot', () => {
  const stack = new AsyncDisposableStack();
  const log: Uint8Array[] = [];
  let board: UBootBoard;
  let console: Console;
  let session: ConsoleSession;
  let uboot: UBoot;
  beforeAll(async () => {
    board = stack.use(await UBootBoard.start());
    const connector = stack.use(serial());
    console = stack.use(await connector.open({ name: 'board1', device: board.device, baudRate: 115_200 }));
    session = stack.use(new ConsoleSession({ console, sink: (chunk) => void log.push(chunk) }));
    uboot = await UBoot.open({ session });
  });
  afterAll(() => stack.disposeAsync());

  it('has its autoboot stopped, and runs commands', async () => {
    expect(await uboot.run('echo hello; echo "two lines"')).toEqual({ exitCode: 0, output: 'hello\ntwo lines\n' });
    expect(await uboot.run('false')).toEqual({ exitCode: 1, output: '' });
    expect(await uboot.run('nonsense')).toMatchObject({ exitCode: 1 });
    await expect(uboot.mustRun('false')).rejects.toMatchObject({ code: 'command-failed' });
    expect(Buffer.concat(log).toString('latin1')).toContain('Hit any key to stop autoboot');
  });

  it('a command that prints the banner is no restart', async () => {
    expect((await uboot.run('version')).output).toMatch(/^\n?U-Boot \d{4}/);
  });

  it('keeps variables as they were given', async () => {
    for (const value of ['plain', `it's $y ; "q" \\ z & # ! \${x}`, String.raw`\\ \' \n`, 'x'.repeat(300)]) {
      await uboot.setVariable('probe', value);
      expect(await uboot.getVariable('probe')).toBe(value);
    }
    await uboot.setVariable('probe', undefined);
    expect(await uboot.getVariable('probe')).toBeUndefined();
    expect((await uboot.environment()).get('arch')).toBe('arm');
  });

  it('loads over TFTP, and says what is in memory', async () => {
    const bytes = randomBytes(300_000);
    await writeFile(join(board.tftp, 'file'), bytes);
    expect(await uboot.dhcp()).toBe('10.0.2.15');
    expect(await uboot.tftp(0x4200_0000, 'file')).toEqual({ sizeBytes: bytes.length, crc32: sum(bytes) });
    await expect(uboot.tftp(0x4200_0000, 'nothing')).rejects.toMatchObject({ code: 'command-failed' });
  });

  it('takes a file over its console (YMODEM)', async () => {
    const bytes = randomBytes(50_001);
    const heard: number[] = [];
    const onProgress = ({ transferredBytes }: { transferredBytes: number }): void => void heard.push(transferredBytes);
    const loaded = await uboot.ymodem(0x4300_0000, sourceOf(bytes), { onProgress });
    expect(loaded).toEqual({ sizeBytes: bytes.length, crc32: sum(bytes) });
    expect(heard.at(-1)).toBe(bytes.length);
    expect(await uboot.run('echo still here')).toMatchObject({ output: 'still here\n' });
  });

  it('a restart while a command runs is noticed, and stopped at its prompt again', async () => {
    await expect(uboot.run('reset')).rejects.toMatchObject({ code: 'command-failed', details: { reset: true } });
    expect(await uboot.run('echo back')).toMatchObject({ output: 'back\n' });
    await uboot.reset();
    expect(await uboot.run('echo again')).toMatchObject({ output: 'again\n' });
  });

  it('a command that takes too long is interrupted', async () => {
    await expect(uboot.run('sleep 1000', { timeoutMs: 500 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
    expect(await uboot.run('echo next')).toMatchObject({ output: 'next\n' });
  });
});

flashContract({
  name: 'U-Boot on a real board',
  setup: async () => {
    const board = await UBootBoard.start();
    const consoles = serial();
    let onWritten: (() => Promise<void>) | undefined;
    let onWriting: (() => Promise<void>) | undefined;
    let said = '';
    const connector = ubootFlash({
      console: consoles,
      slots: { kernel: board.slot },
      loadAddress: 0x4200_0000,
      tftp: tftpFolder({ path: board.tftp }),
      sink: async (chunk) => {
        said = (said + Buffer.from(chunk).toString('latin1')).slice(-400);
        const act = said.includes('blocks written: OK')
          ? onWritten
          : said.includes('virtio write')
            ? onWriting
            : undefined;
        if (act === undefined) return;
        onWritten = undefined;
        onWriting = undefined;
        await act();
      },
    });
    const station = await connector.open({
      stationId: board.device,
      board: { id: 'b1', name: 'board1', boardType: 'virt', architecture: 'arm64' },
    });
    return {
      station,
      slot: 'kernel',
      proof: 'readback',
      contents: () => board.contents(),
      corruptNext: () => void (onWritten = () => board.damage()),
      cutNext: () =>
        void (onWriting = async () => {
          await board.powerOff();
          await board.powerOn();
        }),
      dispose: async () => {
        await connector[Symbol.asyncDispose]();
        await consoles[Symbol.asyncDispose]();
        await board[Symbol.asyncDispose]();
      },
    };
  },
});

it('a board without a network is flashed over its console alone', async () => {
  await using board = await UBootBoard.start();
  await using consoles = serial();
  await using connector = ubootFlash({ console: consoles, slots: { dtb: board.slot }, loadAddress: 0x4200_0000 });
  await using station = await connector.open({
    stationId: board.device,
    board: { id: 'b1', name: 'board1', boardType: 'virt', architecture: 'arm64' },
  });
  const bytes = randomBytes(20_000);
  expect(await station.flash({ slot: 'dtb', bytes: sourceOf(bytes) })).toMatchObject({ verified: 'readback' });
  const contents = Buffer.from(await board.contents());
  expect(contents.subarray(0, bytes.length).equals(bytes)).toBe(true);
  // The rest of the last block is zeros, not what was in memory.
  expect(contents.subarray(bytes.length, 20_480).every((byte) => byte === 0)).toBe(true);
  const large = { ...sourceOf(bytes), sizeBytes: 2 ** 21 };
  await expect(station.flash({ slot: 'dtb', bytes: large })).rejects.toMatchObject({ code: 'flash-failed' });
});
