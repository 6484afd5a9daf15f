import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallOptions } from '../contracts/runtime.ts';
import type { UBoot } from './uboot.ts';

/** A folder of this machine that a TFTP server serves to boards. */
export interface TftpFolderOptions {
  readonly path: string;
  /** What comes before the file's name in requests, such as `boards/`. Default: nothing. */
  readonly prefix?: string;
  /** The server's address. Default: what DHCP or the board's `serverip` says. */
  readonly server?: string;
  /** Gives the board its network. Default: DHCP. */
  readonly prepare?: (uboot: UBoot, options: CallOptions) => Promise<void>;
}

/** {@link tftpFolder}. */
export interface TftpFolder extends Pick<TftpFolderOptions, 'server' | 'prepare'> {
  /** Has the bytes served under a name of their own while `use` runs. */
  publish<T>(bytes: Uint8Array, options: CallOptions, use: (filename: string) => Promise<T>): Promise<T>;
}

/** Serves images to boards from a folder; each file is there only while it is loaded. */
export function tftpFolder({ path, prefix = '', ...rest }: TftpFolderOptions): TftpFolder {
  return {
    ...rest,
    async publish(bytes, { signal }, use) {
      const name = `bringup-${randomUUID()}`;
      const file = join(path, name);
      try {
        await writeFile(file, bytes, { mode: 0o644, ...(signal !== undefined && { signal }) });
        return await use(prefix + name);
      } finally {
        await rm(file, { force: true });
      }
    },
  };
}
