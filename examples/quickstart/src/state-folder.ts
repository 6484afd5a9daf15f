import { createHash } from 'node:crypto';
import { mkdir, realpath, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';

/** The folder of a run, held by this process until it is disposed of. */
export interface HeldFolder extends Disposable {
  /** When the last process that had the folder was last seen, milliseconds since the Unix epoch. */
  readonly lastSeen: number | undefined;
}

const seenEveryMs = 500;

/**
 * Takes the state folder for this process.
 * @throws Error when another process has it.
 */
export async function holdFolder(folder: string): Promise<HeldFolder> {
  await mkdir(folder, { recursive: true });
  // An abstract unix socket: the kernel gives it to one, and takes it back however its owner dies.
  const key = createHash('sha256')
    .update(await realpath(folder))
    .digest('hex')
    .slice(0, 32);
  const claim = createServer((stranger) => stranger.destroy());
  await new Promise<void>((resolve, reject) => {
    claim.once('error', () =>
      reject(
        new Error(
          `another quickstart is at work in ${folder}; wait for it, or give this one a folder of its own with --state DIR`,
        ),
      ),
    );
    claim.listen({ path: `\0bringup-quickstart-${key}`, exclusive: true }, resolve);
  });
  claim.unref();
  const file = join(folder, 'last-seen');
  const lastSeen = await stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
  const beSeen = (): void => void writeFile(file, '').catch(() => undefined);
  beSeen();
  const timer = setInterval(beSeen, seenEveryMs);
  timer.unref();
  return {
    lastSeen,
    [Symbol.dispose]: () => {
      clearInterval(timer);
      claim.close();
    },
  };
}
