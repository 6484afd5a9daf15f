import { setTimeout as pause } from 'node:timers/promises';
import { isBringupError } from '@bringup/core';

/**
 * What a program does whose database can't be had for a moment: the server restarts, or a process that stands still has
 * SQLite's lock.
 */
export async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isBringupError(error, 'store-failed') || !error.retryable) throw error;
      await pause(200);
    }
  }
}
