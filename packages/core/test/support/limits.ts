import { limits, type Limits } from '@bringup/core';

/** Runs a test with other bounds: nobody waits for a gigabyte of log. */
export async function withLimits<T>(changed: Partial<Record<keyof Limits, number>>, act: () => Promise<T>): Promise<T> {
  const before = { ...limits };
  Object.assign(limits, changed);
  try {
    return await act();
  } finally {
    Object.assign(limits, before);
  }
}
