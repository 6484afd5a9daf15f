/** A file, folder, symbolic link or character device in an archive. */
export type CpioEntry = { readonly path: string } & (
  | { readonly type: 'file'; readonly content: Uint8Array; readonly executable?: boolean }
  | { readonly type: 'folder' }
  | { readonly type: 'link'; readonly target: string }
  | { readonly type: 'device'; readonly major: number; readonly minor: number }
);

const modes = { folder: 0o040755, link: 0o120777, device: 0o020600 } as const;

/**
 * Writes a cpio archive as Linux takes it for an initrd ("newc", see the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst). Everything belongs to root and is
 * from 1970, so the same entries give the same bytes; and no right to make devices is needed.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const sorted = entries.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const parts = sorted.flatMap((entry, index) => encode(entry, index + 1));
  parts.push(...record('TRAILER!!!', { inode: 0, mode: 0, links: 1, major: 0, minor: 0 }, Buffer.alloc(0)));
  return Buffer.concat(parts);
}

function encode(entry: CpioEntry, inode: number): Buffer[] {
  const device = entry.type === 'device' ? entry : { major: 0, minor: 0 };
  const mode = entry.type === 'file' ? (entry.executable === true ? 0o100755 : 0o100644) : modes[entry.type];
  const content =
    entry.type === 'file' ? entry.content : entry.type === 'link' ? Buffer.from(entry.target) : Buffer.alloc(0);
  const links = entry.type === 'folder' ? 2 : 1;
  return record(entry.path, { inode, mode, links, major: device.major, minor: device.minor }, content);
}

interface Fields {
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly major: number;
  readonly minor: number;
}

function record(path: string, fields: Fields, content: Uint8Array): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const numbers = [
    fields.inode,
    fields.mode,
    0, // uid
    0, // gid
    fields.links,
    0, // modification time
    content.length,
    0, // major and minor of the file system
    0,
    fields.major,
    fields.minor,
    name.length,
    0, // no checksum in this format
  ];
  const header = Buffer.concat([
    Buffer.from(`070701${numbers.map((n) => n.toString(16).padStart(8, '0')).join('')}`),
    name,
  ]);
  return [header, padding(header.length), Buffer.from(content), padding(content.length)];
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
