import { constants, closeSync, openSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { sleep } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';

const busyRetryMs = 5;

/**
 * Connects to a unix socket in a folder. The path of a socket may have 107 bytes only, and
 * workspaces are longer: the folder is opened and the socket reached through /proc/self/fd.
 * @throws `connection-failed`; the signal's reason.
 */
export async function connectInFolder(
  folder: string,
  name: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<Socket> {
  while (true) {
    signal.throwIfAborted();
    try {
      return await connectOnce(folder, name);
    } catch (error) {
      // QEMU lets one client wait while it serves another; the next one is told to come again.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw failed(folder, name, error);
      await sleep(clock, busyRetryMs, signal);
    }
  }
}

async function connectOnce(folder: string, name: string): Promise<Socket> {
  const directory = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    // Connecting to a unix socket resolves the path at once and succeeds or fails without waiting.
    const socket = createConnection({ path: `/proc/self/fd/${directory}/${name}` });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.removeAllListeners('error');
    return socket;
  } finally {
    closeSync(directory);
  }
}

function failed(folder: string, name: string, cause: unknown): BringupError {
  return new BringupError('connection-failed', `Could not connect to ${folder}/${name}: ${(cause as Error).message}`, {
    cause,
    retryable: true,
  });
}
