import { execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { shellFlash, type FlashTarget } from '@bringup/core';
import { flashContract } from '@bringup/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { faultyShell, type FlashFaults } from '../../../../test/fixtures/faulty-shell.ts';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { ssh } from '../../src/index.ts';

const run = promisify(execFile);
const board: FlashTarget['board'] = { id: 'b1', name: 'board-1', boardType: 'generic', architecture: 'arm64' };

let sshd: Sshd;
let folder: string;
/** A real block device: 8 MiB of a loop device. */
let device: string;

beforeAll(async () => {
  sshd = await startSshd();
  folder = await mkdtemp(join(tmpdir(), 'bringup-flash-'));
  await writeFile(join(folder, 'medium'), '');
  await truncate(join(folder, 'medium'), 8 * 1024 * 1024);
  device = (await run('losetup', ['--find', '--show', join(folder, 'medium')])).stdout.trim();
});
afterAll(async () => {
  if (device !== undefined) await run('losetup', ['--detach', device]);
  await rm(folder, { recursive: true });
  await sshd[Symbol.asyncDispose]();
});

const slots = () => ({ system: { method: 'block', device, offsetBytes: 1024 * 1024 } }) as const;

flashContract({
  name: 'a block device over SSH',
  setup: async () => {
    const faults: FlashFaults = {};
    const connector = ssh({ knownHosts: [sshd.knownHosts] });
    const flash = shellFlash({
      shell: faultyShell(connector, faults),
      stations: { bench: { target: sshd.target, slots: slots() } },
    });
    return {
      station: await flash.open({ stationId: 'bench', board }),
      slot: 'system',
      proof: 'readback',
      contents: async () => (await readFile(device)).subarray(1024 * 1024, 2 * 1024 * 1024),
      corruptNext: () => {
        faults.beforeReadBack = async () => {
          await using medium = await open(device, 'r+');
          await medium.write(Buffer.from('damaged'), 0, 7, 1024 * 1024 + 12_345);
          await medium.sync();
        };
      },
      cutNext: () => {
        faults.cut = { afterBytes: 300_000, act: () => sshd.dropConnections() };
      },
      dispose: async () => {
        await flash[Symbol.asyncDispose]();
        await connector[Symbol.asyncDispose]();
      },
    };
  },
});

describe('a block device over SSH', () => {
  it('is not written while a file system on it is mounted', async () => {
    await using connector = ssh({ knownHosts: [sshd.knownHosts] });
    await using flash = shellFlash({
      shell: connector,
      stations: { bench: { target: sshd.target, slots: { whole: { method: 'block', device } } } },
    });
    await using station = await flash.open({ stationId: 'bench', board });
    const bytes = {
      sizeBytes: 512,
      async *read() {
        yield Buffer.alloc(512, 1);
      },
    };
    await run('mkfs.ext4', ['-q', '-F', device]);
    const at = await mkdtemp(join(folder, 'mounted-'));
    await run('mount', [device, at]);
    try {
      await expect(station.flash({ slot: 'whole', bytes })).rejects.toMatchObject({
        code: 'flash-failed',
        message: expect.stringContaining(`${device} is in use: ${at}`),
      });
    } finally {
      await run('umount', [at]);
    }
    expect(await station.flash({ slot: 'whole', bytes })).toMatchObject({ verified: 'readback' });
  });
});
