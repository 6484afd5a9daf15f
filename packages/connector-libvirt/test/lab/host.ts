import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { localShell } from '@bringup/core';
import type { ShellSession, VmSpec } from '@bringup/core';
import { tinyGuestImage } from '@bringup/core/testing';
import { startLibvirtd } from '../../../../test/fixtures/libvirtd.ts';
import type { LibvirtdFixture, LibvirtdOptions } from '../../../../test/fixtures/libvirtd.ts';
import { libvirt } from '../../src/index.ts';
import type { LibvirtSession } from '../../src/index.ts';

const run = promisify(execFile);

/** A real libvirtd, reached over its local socket. */
export interface LocalHost extends AsyncDisposable {
  readonly daemon: LibvirtdFixture;
  readonly shell: ShellSession;
  readonly connect: () => Promise<LibvirtSession>;
  /** A VM that boots the tiny guest under TCG. */
  readonly spec: (name: string, more?: Partial<VmSpec>) => VmSpec;
  readonly virsh: (...argv: readonly string[]) => Promise<string>;
}

/** Starts a libvirtd and connects a shell to this machine. */
export async function startLocalHost(options?: LibvirtdOptions): Promise<LocalHost> {
  const daemon = await startLibvirtd(options);
  const kernel = join(daemon.workspace, 'kernel');
  await writeFile(kernel, tinyGuestImage());
  const host = { hostname: 'localhost', username: 'root' };
  const shells = localShell();
  const shell = await shells.connect(host);
  const connector = libvirt({ socketPath: daemon.socketPath });
  return {
    daemon,
    shell,
    connect: () => connector.connect({ host, workspace: join(daemon.workspace, 'vms') }, shell),
    spec: (name, more) => ({
      name,
      architecture: 'x86_64',
      cpus: 1,
      memoryMb: 32,
      kernel,
      accelerator: 'tcg',
      commandLine: 'console=ttyS0',
      tags: { reservation: 'r-1' },
      ...more,
    }),
    virsh: async (...argv) => (await run('virsh', ['-c', daemon.uri, ...argv])).stdout,
    async [Symbol.asyncDispose]() {
      await connector[Symbol.asyncDispose]();
      await shells[Symbol.asyncDispose]();
      await daemon[Symbol.asyncDispose]();
    },
  };
}
