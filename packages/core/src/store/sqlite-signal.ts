import { closeSync, constants, openSync, watch, writeSync, type FSWatcher } from 'node:fs';
import type { CommitSignal } from './provider.ts';
import type { SqliteHandle } from './sqlite-connection.ts';

/**
 * How processes that share a database file hear of each other's commits: who has committed something
 * that others may wait for writes a byte to a file beside the database, which the others watch.
 * Watching the database's own files would do without it, at several events for each commit.
 *
 * It is a hint: a process may die between its commit and the byte, or the kernel be out of watches.
 * So whoever waits also looks now and then.
 */
export class SqliteSignal implements CommitSignal, Disposable {
  readonly #file: string;
  readonly #handle: SqliteHandle;
  readonly #watchers = new Set<FSWatcher>();
  #fd: number | undefined;
  #told = false;
  #tellAgain = false;

  /** @param path of the database. */
  constructor(path: string, handle: SqliteHandle) {
    this.#file = `${path}-wake`;
    this.#handle = handle;
    this.#fd = openSync(this.#file, constants.O_RDWR | constants.O_CREAT, 0o644);
  }

  /** At once, and then at most once in each turn of the event loop. */
  tell(): void {
    if (this.#fd === undefined) return;
    if (this.#told) {
      this.#tellAgain = true;
      return;
    }
    this.#told = true;
    try {
      writeSync(this.#fd, '.', 0);
    } catch {
      // A full disk, for one. What was committed stays so, and others find it when they look.
    }
    setImmediate(() => {
      this.#told = false;
      const again = this.#tellAgain;
      this.#tellAgain = false;
      if (again) this.tell();
    });
  }

  listen(heard: () => void): Disposable {
    let seen = this.#version();
    let watcher: FSWatcher | undefined;
    const stop = (): void => {
      watcher?.close();
      if (watcher !== undefined) this.#watchers.delete(watcher);
    };
    try {
      watcher = watch(this.#file, { persistent: false }, () => {
        // Our own byte is no news: SQLite counts the commits of other connections only.
        const version = this.#version();
        if (version === seen) return;
        seen = version;
        heard();
      });
      watcher.on('error', stop);
      this.#watchers.add(watcher);
    } catch {
      // No watch is left for this user: there is only looking now and then.
    }
    return { [Symbol.dispose]: stop };
  }

  /** Changes with each commit of another connection. */
  #version(): unknown {
    if (this.#fd === undefined) return undefined;
    try {
      const [row] = this.#handle.prepare('pragma data_version').all() as { data_version: number }[];
      return row?.data_version;
    } catch {
      return {};
    }
  }

  [Symbol.dispose](): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers.clear();
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
