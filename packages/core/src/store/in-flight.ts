/**
 * Statements that databases outside of this process are at work on, and word of commits that is on its way.
 * A clock of a test has to wait for these before it moves on: nothing else would tell it that something goes on.
 */
export const inFlight = { count: 0 };

/** Counts `work` as under way until it settles. */
export async function counted<T>(work: Promise<T>): Promise<T> {
  inFlight.count += 1;
  try {
    return await work;
  } finally {
    inFlight.count -= 1;
  }
}
