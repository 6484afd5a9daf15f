import { describe, expect, it } from 'vitest';
import type { TransferProgress } from '@bringup/core';
import { fakeClock, memoryShell } from '@bringup/core/testing';
import { limits } from '../../src/limits.ts';
import { SessionHolder } from '../../src/work/session.ts';

const path = '/tmp/vmlinux';
const bytes = Buffer.from(Uint32Array.from({ length: 300_000 }, (_, index) => index).buffer);

function world() {
  const clock = fakeClock();
  const shell = memoryShell({ clock });
  const host = shell.host('build1');
  host.fs.writeFile(path, bytes);
  const { signal } = new AbortController();
  const sessions = new SessionHolder(() => shell.connect({ hostname: 'build1', username: 'ci' }), { clock, signal });
  return { clock, host, sessions };
}

describe('a download whose connection breaks', () => {
  it('goes on where it was, as often as that happens, and every byte comes once', async () => {
    const { clock, host, sessions } = world();
    const progress: TransferProgress[] = [];
    const chunks: Uint8Array[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of sessions.download(path, { onProgress: (now) => progress.push(now) })) {
        chunks.push(chunk);
        host.dropConnections();
      }
    };
    await clock.runUntil(read());
    expect(chunks.length).toBeGreaterThan(limits.reconnectAttempts);
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    const counts = progress.map(({ transferredBytes }) => transferredBytes);
    expect(counts).toEqual([...counts].sort((one, other) => one - other));
  });

  it('fails when the target stays out of reach', async () => {
    const { clock, host, sessions } = world();
    const read = async (): Promise<void> => {
      for await (const _chunk of sessions.download(path, {})) {
        host.faults.refuseConnection = true;
        host.dropConnections();
      }
    };
    await expect(clock.runUntil(read())).rejects.toMatchObject({ code: 'connection-failed' });
  });

  it('is not mixed with what the file has become meanwhile', async () => {
    const { clock, host, sessions } = world();
    const read = async (): Promise<void> => {
      for await (const _chunk of sessions.download(path, {})) {
        host.fs.writeFile(path, Buffer.from(bytes).fill(1, 0, 10));
        host.dropConnections();
      }
    };
    await expect(clock.runUntil(read())).rejects.toMatchObject({ code: 'checksum-mismatch' });
  });
});
