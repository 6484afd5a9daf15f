import { once } from 'node:events';
import { truncateSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConsoleSession, limits, systemClock, UBoot, type BringupError, type ByteSource } from '@bringup/core';
import { fakeClock, memoryConsole, MemoryLine } from '@bringup/core/testing';
import { sendYmodem } from '../../src/consoles/ymodem.ts';
import { qemuScreenshot } from '../../src/local/qemu-control.ts';
import { QemuFolder } from '../../src/local/qemu-folder.ts';
import { lastWords } from '../../src/local/qemu-process.ts';
import { withLimits } from '../support/limits.ts';

/** A folder of this test's own. */
async function folderFor<T>(act: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'bringup-bounds-'));
  try {
    return await act(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A console, and what the board at its other end does. */
async function onConsole<T>(
  board: (line: MemoryLine) => Promise<void>,
  act: (session: ConsoleSession, clock: ReturnType<typeof fakeClock>) => Promise<T>,
): Promise<T> {
  const clock = fakeClock();
  const connector = memoryConsole({ clock });
  const line = new MemoryLine('board');
  connector.attach('tty', line);
  await using console = await connector.open({ name: 'board', device: 'tty', baudRate: 115_200 });
  await using session = new ConsoleSession({ console, clock });
  void board(line);
  return await act(session, clock);
}

const failure = (promise: Promise<unknown>): Promise<BringupError | undefined> =>
  promise.then(
    () => undefined,
    (error: BringupError) => error,
  );

describe('YMODEM', () => {
  const source: ByteSource = {
    sizeBytes: 10,
    read: async function* () {
      yield Buffer.alloc(10, 'x');
    },
  };

  it('L-ymodemAttempts: a block is sent so often to a receiver that refuses it', async () => {
    /** Refuses the first block so many times, then takes everything. */
    const send = async (refusals: number): Promise<readonly [code: string | undefined, frames: number]> => {
      let frames = 0;
      const error = await onConsole(
        async (line) => {
          line.say(Uint8Array.of(0x43));
          for await (const frame of line.input()) {
            // What begins otherwise is no block: the end of a file, or of the sender's patience.
            if (frame[0] === 1 || frame[0] === 2) frames += 1;
            if (frames <= refusals) line.say(Uint8Array.of(0x15));
            // After the header and after the end of the file the receiver asks for what comes next.
            else line.say(Uint8Array.of(0x06, ...(frame.length > 1 && frame[1] === 1 ? [] : [0x43])));
          }
        },
        (session, clock) => clock.runUntil(failure(sendYmodem(session, source, {}))),
      );
      return [error?.code, frames];
    };
    const [taken] = await send(limits.ymodemAttempts - 1);
    expect(taken).toBeUndefined();
    expect(await send(limits.ymodemAttempts)).toEqual(['transfer-failed', limits.ymodemAttempts]);
  });
});

describe('U-Boot', () => {
  it('L-ubootLineBytes: gets no line longer than that, with what is put around the command', () =>
    onConsole(
      async (line) => {
        line.say('=> ');
        let typed = '';
        for await (const bytes of line.input()) {
          line.say(bytes);
          typed += Buffer.from(bytes).toString();
          for (let end = typed.indexOf('\n'); end >= 0; end = typed.indexOf('\n')) {
            const said = typed
              .slice(0, end)
              .split(';')
              .filter((command) => command.trim().startsWith('echo '))
              .map((command) => command.trim().slice(5).replaceAll("'", '').replace('$?', '0'));
            typed = typed.slice(end + 1);
            line.say(`\r\n${said.map((words) => `${words}\r\n`).join('')}=> `);
          }
        }
      },
      async (session, clock) => {
        const uboot = await clock.runUntil(UBoot.open({ session, clock }));
        const run = (bytes: number) =>
          clock.runUntil(failure(uboot.run(`true ${'x'.repeat(bytes - 5)}`, { timeoutMs: 60_000 })));
        // The longest that goes is found: what is put around it has one length.
        let longest = limits.ubootLineBytes;
        while ((await run(longest))?.code === 'invalid-input') longest -= 1;
        expect(longest).toBeGreaterThan(limits.ubootLineBytes - 100);
        expect(await run(longest + 1)).toMatchObject({
          code: 'invalid-input',
          message: expect.stringContaining(`${limits.ubootLineBytes} bytes`),
        });
      },
    ));
});

describe('QEMU', () => {
  it('L-qemuErrorBytes: is quoted with that much of what it said, the last', () =>
    folderFor(async (folder) => {
      const log = join(folder, 'qemu.log');
      const said = async (bytes: number): Promise<string> => {
        await writeFile(log, `${'x'.repeat(bytes - 4)}last`);
        return lastWords(log);
      };
      for (const bytes of [limits.qemuErrorBytes, limits.qemuErrorBytes + 1]) {
        const words = await said(bytes);
        expect([words.length, words.slice(-5)]).toEqual([limits.qemuErrorBytes, 'xlast']);
      }
    }));

  it('L-screenshotMaxBytes: shows a display of that size, and none that is larger', () =>
    folderFor((workspace) =>
      withLimits({ screenshotMaxBytes: 1_000 }, async () => {
        const folder = new QemuFolder(workspace, 'vm');
        await mkdir(folder.path);
        let bytes = 0;
        const qemu = createServer((socket) => {
          socket.write('{"QMP": {}}\r\n');
          socket.on('data', (data) => {
            for (const line of data.toString().trim().split('\n')) {
              const {
                execute,
                id,
                arguments: given,
              } = JSON.parse(line) as { execute: string; id: number; arguments?: { filename: string } };
              if (execute === 'screendump') {
                const path = join(folder.path, given?.filename ?? '');
                writeFileSync(path, '');
                truncateSync(path, bytes);
              }
              socket.write(`${JSON.stringify({ return: {}, id })}\r\n`);
            }
          });
        }).listen(join(folder.path, 'qmp.sock'));
        await once(qemu, 'listening');
        const take = (size: number) => {
          bytes = size;
          return qemuScreenshot({ folder, clock: systemClock, signal: AbortSignal.timeout(20_000) });
        };
        expect((await take(1_000)).image).toHaveLength(1_000);
        await expect(take(1_001)).rejects.toMatchObject({ code: 'hypervisor-failed' });
        qemu.close();
      }),
    ));
});
