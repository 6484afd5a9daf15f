import { posix } from 'node:path';
import { BringupError, diskBytes, diskHeaderBytes } from '@bringup/core';
import type { ByteSource, CallOptions, ShellSession, VmDisk } from '@bringup/core';
import { qcow2Overlay } from './qcow2.ts';

// The console's log is made here, not by libvirt, so that this account can read it. The second name
// keeps its first bytes when virtlogd rotates it away.
const prepareScript = `
umask 022
rm -rf -- "$1" && mkdir -p -- "$1" && : > "$1/console.log" && ln -- "$1/console.log" "$1/console.seg.0"
`;

// Who reads the log may just have given a rotated part its second name, in a folder that was empty.
const removeScript = `
rm -rf -- "$1" 2>/dev/null || rm -rf -- "$1"
`;

const describeScript = `
stat -Lc %s -- "$1" && head -c "$2" -- "$1"
`;

/** The folder on the host with all the connector makes for one VM. */
export class VmFolder {
  /** Absolute path on the host. */
  readonly path: string;
  readonly #shell: Pick<ShellSession, 'exec' | 'upload'>;

  constructor(shell: Pick<ShellSession, 'exec' | 'upload'>, workspace: string, vmName: string) {
    this.#shell = shell;
    this.path = posix.join(workspace, vmName);
  }

  /** File to which libvirt logs the console. */
  get consoleLog(): string {
    return posix.join(this.path, 'console.log');
  }

  /** Image that takes the guest's writes. */
  get overlay(): string {
    return posix.join(this.path, 'rootfs.qcow2');
  }

  /** Makes the folder anew, with an empty console log. @throws `hypervisor-failed`, and as `exec`. */
  async prepare(options: CallOptions): Promise<void> {
    await this.#run('prepare', ['sh', '-c', prepareScript, 'sh', this.path], options);
  }

  /** Puts an empty image over a disk, so that guest writes never reach it. @throws as `prepare` and `upload`. */
  async overlayDisk(disk: VmDisk, options: CallOptions): Promise<void> {
    const argv = ['sh', '-c', describeScript, 'sh', disk.path, String(diskHeaderBytes)];
    const described = await this.#run('read the root file system in', argv, options);
    const lineEnd = described.indexOf('\n');
    const fileBytes = Number(described.subarray(0, lineEnd).toString('latin1'));
    const sizeBytes = diskBytes(disk.format, described.subarray(lineEnd + 1), fileBytes);
    await this.#shell.upload(bytesSource(qcow2Overlay(disk.path, disk.format, sizeBytes)), this.overlay, options);
  }

  /** Removes the folder. One that is not there is fine. */
  async remove(options: CallOptions): Promise<void> {
    await this.#run('remove', ['sh', '-c', removeScript, 'sh', this.path], options);
  }

  async #run(what: string, argv: readonly string[], options: CallOptions): Promise<Buffer> {
    const { exitCode, stdout, stderr } = await this.#shell.exec(argv, options);
    if (exitCode === 0) return stdout;
    const said = stderr.toString('utf8').trim();
    throw new BringupError('hypervisor-failed', `Could not ${what} the VM's folder ${this.path}: ${said}`, {
      details: { folder: this.path, exitCode, stderr: said },
    });
  }
}

/** Bytes in memory, to be uploaded. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.length,
    async *read(offset = 0) {
      yield bytes.subarray(offset);
    },
  };
}
