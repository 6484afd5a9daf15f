import { posix } from 'node:path';

/** What {@link MemoryFileSystem.stat} says. */
export interface MemoryFileInfo {
  readonly kind: 'file' | 'folder';
  readonly sizeBytes: number;
  /** Permission bits. */
  readonly mode: number;
}

/** An error of {@link MemoryFileSystem}, with the code and the words of the operating system. */
export class MemoryFileError extends Error {
  readonly code: 'ENOENT' | 'EEXIST' | 'ENOTDIR' | 'EISDIR' | 'ENOTEMPTY' | 'ENOSPC';
  /** The path it is about. */
  readonly path: string;

  constructor(code: MemoryFileError['code'], path: string) {
    super(words[code]);
    this.name = 'MemoryFileError';
    this.code = code;
    this.path = path;
  }
}

const words = {
  ENOENT: 'No such file or directory',
  EEXIST: 'File exists',
  ENOTDIR: 'Not a directory',
  EISDIR: 'Is a directory',
  ENOTEMPTY: 'Directory not empty',
  ENOSPC: 'No space left on device',
} as const;

type Entry =
  | { readonly kind: 'folder'; mode: number }
  | { readonly kind: 'file'; mode: number; chunks: Buffer[]; sizeBytes: number };

/** Files and folders in memory, by absolute POSIX path. Every method throws {@link MemoryFileError}. */
export class MemoryFileSystem {
  /** Bytes that fit in all files together; writing beyond fails with `ENOSPC`. Default: no bound. */
  capacityBytes: number = Infinity;
  readonly #entries = new Map<string, Entry>([['/', { kind: 'folder', mode: 0o755 }]]);
  #usedBytes = 0;

  /** Bytes in all files. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** What is at a path, or undefined when nothing is. */
  stat(path: string): MemoryFileInfo | undefined {
    const entry = this.#entries.get(clean(path));
    if (entry === undefined) return undefined;
    return { kind: entry.kind, mode: entry.mode, sizeBytes: entry.kind === 'file' ? entry.sizeBytes : 0 };
  }

  /** The bytes of a file. */
  readFile(path: string): Buffer {
    const file = this.#file(path);
    if (file.chunks.length !== 1) file.chunks = [Buffer.concat(file.chunks)];
    return Buffer.from(file.chunks[0] ?? []);
  }

  /** Writes a whole file, new or old. Its folder must exist. Default mode 0o644. */
  writeFile(path: string, data: string | Uint8Array, options: { readonly mode?: number } = {}): void {
    const bytes = Buffer.from(data);
    const old = this.#entries.get(clean(path));
    if (old?.kind === 'folder') throw new MemoryFileError('EISDIR', path);
    this.#checkParent(path);
    this.#use(bytes.byteLength - (old?.sizeBytes ?? 0), path);
    const mode = options.mode ?? old?.mode ?? 0o644;
    this.#entries.set(clean(path), { kind: 'file', mode, chunks: [bytes], sizeBytes: bytes.byteLength });
  }

  /** Adds to the end of a file, which is made when it is missing. */
  appendFile(path: string, data: string | Uint8Array): void {
    if (this.stat(path) === undefined) this.writeFile(path, '');
    const file = this.#file(path);
    const bytes = Buffer.from(data);
    this.#use(bytes.byteLength, path);
    file.chunks.push(bytes);
    file.sizeBytes += bytes.byteLength;
  }

  /** Sets permission bits. */
  chmod(path: string, mode: number): void {
    const entry = this.#entries.get(clean(path));
    if (entry === undefined) throw new MemoryFileError('ENOENT', path);
    entry.mode = mode;
  }

  /** Makes a folder; `recursive` makes its parents too and minds no folder that exists. */
  makeFolder(path: string, options: { readonly recursive?: boolean } = {}): void {
    const folder = clean(path);
    const existing = this.#entries.get(folder);
    if (existing !== undefined) {
      if (options.recursive === true && existing.kind === 'folder') return;
      throw new MemoryFileError('EEXIST', path);
    }
    if (options.recursive === true) this.makeFolder(posix.dirname(folder), options);
    this.#checkParent(folder);
    this.#entries.set(folder, { kind: 'folder', mode: 0o755 });
  }

  /** Names in a folder, sorted. */
  list(path: string): readonly string[] {
    const folder = this.#entries.get(clean(path));
    if (folder === undefined) throw new MemoryFileError('ENOENT', path);
    if (folder.kind === 'file') throw new MemoryFileError('ENOTDIR', path);
    const prefix = below(path);
    const names = [...this.#entries.keys()]
      .filter((entry) => entry !== '/' && entry.startsWith(prefix) && !entry.includes('/', prefix.length))
      .map((entry) => entry.slice(prefix.length));
    return names.sort();
  }

  /** Removes a file or an empty folder; `recursive` removes what is in it too. */
  remove(path: string, options: { readonly recursive?: boolean } = {}): void {
    const entry = this.#entries.get(clean(path));
    if (entry === undefined) throw new MemoryFileError('ENOENT', path);
    const inside = [...this.#entries.keys()].filter((other) => other.startsWith(below(path)) && other !== '/');
    if (inside.length > 0 && options.recursive !== true) throw new MemoryFileError('ENOTEMPTY', path);
    for (const gone of [...inside, clean(path)]) {
      const removed = this.#entries.get(gone);
      if (removed?.kind === 'file') this.#usedBytes -= removed.sizeBytes;
      if (gone !== '/') this.#entries.delete(gone);
    }
  }

  /** Moves a file or a folder, replacing a file of that name. */
  rename(from: string, to: string): void {
    const entry = this.#entries.get(clean(from));
    if (entry === undefined) throw new MemoryFileError('ENOENT', from);
    if (clean(from) === clean(to)) return;
    const replaced = this.#entries.get(clean(to));
    if (replaced?.kind === 'folder') throw new MemoryFileError('EISDIR', to);
    this.#checkParent(to);
    if (replaced !== undefined) this.remove(to);
    const inside = [...this.#entries].filter(([path]) => path.startsWith(below(from)));
    for (const [path, moved] of [...inside, [clean(from), entry] as const]) {
      this.#entries.delete(path);
      this.#entries.set(clean(to) + path.slice(clean(from).length), moved);
    }
  }

  #file(path: string): Extract<Entry, { kind: 'file' }> {
    const entry = this.#entries.get(clean(path));
    if (entry === undefined) throw new MemoryFileError('ENOENT', path);
    if (entry.kind === 'folder') throw new MemoryFileError('EISDIR', path);
    return entry;
  }

  #checkParent(path: string): void {
    const parent = this.#entries.get(posix.dirname(clean(path)));
    if (parent === undefined) throw new MemoryFileError('ENOENT', path);
    if (parent.kind === 'file') throw new MemoryFileError('ENOTDIR', path);
  }

  #use(bytes: number, path: string): void {
    if (bytes > 0 && this.#usedBytes + bytes > this.capacityBytes) throw new MemoryFileError('ENOSPC', path);
    this.#usedBytes += bytes;
  }
}

/** One spelling for each path. */
function clean(path: string): string {
  return posix.resolve('/', path);
}

/** What the paths inside a folder begin with. */
function below(path: string): string {
  return clean(path) === '/' ? '/' : `${clean(path)}/`;
}
