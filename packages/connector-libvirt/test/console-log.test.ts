import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, link, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localShell } from '@bringup/core';
import type { ShellConnector, ShellSession } from '@bringup/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConsoleLog, type LogReading } from '../src/console-log.ts';
import { VmFolder } from '../src/vm-folder.ts';

let scratch = '';
let folder = '';
let shell: ShellConnector;
let session: ShellSession;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bringup-console-log-'));
  folder = join(scratch, 'vm');
  await mkdir(folder);
  await mkdir(join(scratch, 'bin'));
  shell = localShell();
  session = await shell.connect({ hostname: 'localhost', username: 'me' });
  await writeFile(join(folder, 'console.log'), 'first\n');
  await link(join(folder, 'console.log'), join(folder, 'console.seg.0'));
});
afterEach(async () => {
  await shell[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true });
});

/** As virtlogd does when the log has grown to its limit. */
async function rotate(next: string): Promise<void> {
  await rename(join(folder, 'console.log'), join(folder, 'console.log.0'));
  await writeFile(join(folder, 'console.log'), next);
}

/** Runs `script` before the `nth` time that the host runs `command`. */
async function before(command: string, nth: number, script: string): Promise<void> {
  const path = join(scratch, 'bin', command);
  const lines = [
    '#!/bin/sh',
    `PATH=${process.env['PATH'] ?? ''}`,
    `echo >>${scratch}/${command}.calls`,
    `[ "$(wc -l <${scratch}/${command}.calls)" -ne ${nth} ] || { cd ${folder} && ${script}; }`,
    `exec ${command} "$@"`,
  ];
  await writeFile(path, `${lines.join('\n')}\n`);
  await chmod(path, 0o755);
}

const host: Pick<ShellSession, 'exec' | 'upload'> = {
  upload: (source, path, options) => session.upload(source, path, options),
  exec: (argv, options) =>
    session.exec(argv, { ...options, env: { PATH: `${join(scratch, 'bin')}:${process.env['PATH'] ?? ''}` } }),
};

/** What a reading came to, with its bytes as text. */
async function read(offset: number, waitMs = 0): Promise<LogReading['outcome'] | { readonly text: string }> {
  const reading = await new ConsoleLog(host, folder).read(offset, waitMs, {});
  return reading.outcome === 'read' ? { text: reading.bytes.toString() } : reading.outcome;
}

/** How a VM's folder goes: at once, or file by file with the folder last, in either order of the files. */
const removals = {
  'with its folder': 'rm -rf "$PWD"',
  'with all its files': 'rm -f console.*',
  'with its newest segment first': 'rm -f "$(ls -d console.seg.* | sort -t. -k3n | tail -n 1)" console.log',
} as const;

describe('reading the console’s log of a VM that is destroyed meanwhile', () => {
  for (const [how, script] of Object.entries(removals)) {
    it(`ends as absent when the log goes ${how} before its size is asked`, async () => {
      await before('stat', 1, script);
      expect(await read(0)).toBe('absent');
    });

    it(`ends as absent when the log goes ${how} while the reading waits for news`, async () => {
      await before('sleep', 1, script);
      expect(await read(6, 5_000)).toBe('absent');
    });

    it(`ends as absent when the log goes ${how} while an offset is awaited that was not said yet`, async () => {
      await before('stat', 2, script);
      expect(await read(600)).toBe('absent');
    });
  }

  for (const how of ['with its folder', 'with all its files'] as const) {
    for (const [command, nth] of [
      ['stat', 1],
      ['stat', 2],
      ['ln', 1],
      ['ln', 2],
    ] as const) {
      it(`ends as absent when a rotated log goes ${how} before ${command} runs for time ${nth}`, async () => {
        await rotate('second\n');
        await before(command, nth, removals[how]);
        expect(await read(0)).toBe('absent');
      });
    }
  }

  it('still gives what it had opened', async () => {
    await before('tail', 1, removals['with its folder']);
    expect(await read(0)).toEqual({ text: 'first\n' });
    expect(await read(0)).toBe('absent');
  });
});

describe('reading a console’s log', () => {
  it('goes over a rotation, from any offset', async () => {
    await rotate('second\n');
    expect(await read(2)).toEqual({ text: 'rst\n' });
    expect(await read(6)).toEqual({ text: 'second\n' });
    expect(await read(13)).toEqual({ text: '' });
  });

  it('says lost when a segment is pruned while the log goes on', async () => {
    await rotate('second\n');
    expect(await read(6)).toEqual({ text: 'second\n' });
    await before('stat', 1, 'rm console.seg.0');
    expect(await read(0)).toBe('lost');
  });

  it('says lost when virtlogd went on further than its names tell', async () => {
    await rotate('second\n');
    await rm(join(folder, 'console.log.0'));
    expect(await read(0)).toBe('lost');
  });

  it('says unreadable of a segment that can’t be opened', async () => {
    // A socket, because root may open any file.
    const path = join(folder, 'console.seg.0');
    await rm(path);
    await rm(join(folder, 'console.log'));
    const server = createServer().listen(path);
    await once(server, 'listening');
    await link(path, join(folder, 'console.log'));
    expect(await read(0)).toBe('unreadable');
    server.close();
  });
});

it('a VM’s folder goes even when a reader names a file of its log meanwhile', async () => {
  await before('rm', 1, `rm -rf ${folder} && mkdir ${folder} && : >${folder}/console.seg.6 && exit 1`);
  await new VmFolder(host, scratch, 'vm').remove({});
  expect(existsSync(folder)).toBe(false);
});
