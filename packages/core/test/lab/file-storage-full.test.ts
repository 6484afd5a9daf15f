import { execFile } from 'node:child_process';
import { appendFile, chmod, mkdtemp, readdir, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { fileArtifactStorage } from '../../src/artifacts/file-storage.ts';
import { artifactStorageContract } from '../../src/testing/artifact-storage-contract.ts';

const run = promisify(execFile);

// Needs root, for a file system that is really full.
artifactStorageContract({
  name: 'file system of 20 MB',
  setup: async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'bringup-small-disk-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', root]);
    const storage = fileArtifactStorage({ path: root });
    return {
      storage,
      corrupt: async (sha256) => {
        const file = storage.locate(sha256) ?? '';
        await chmod(file, 0o644);
        await appendFile(file, 'x');
      },
      tooManyBytes: 30 * 1024 * 1024,
      leftovers: async () => await readdir(path.join(root, 'tmp')).catch(() => []),
      dispose: async () => {
        await storage[Symbol.asyncDispose]();
        await run('umount', [root]);
        await rmdir(root);
      },
    };
  },
});
