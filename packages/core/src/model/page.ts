import { invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';

/** Which page of a listing that goes on and on. */
export interface ListOptions {
  /** Go on after the one of this id. */
  readonly after?: string;
  /** At most this many. Default and bound {@link limits.pageSize}. */
  readonly limit?: number;
}

/** Which page of a listing that is read from its newest entry on. */
export interface HistoryOptions {
  /** Only those older than this id. */
  readonly before?: string;
  /** At most this many. Default and bound {@link limits.pageSize}. */
  readonly limit?: number;
}

/** How many entries the page holds at most. @throws `invalid-input` for what is no number of entries: below 0 it would be all. */
export function pageLimit({ limit = limits.pageSize }: { readonly limit?: number }): number {
  if (!Number.isInteger(limit) || limit < 0) {
    throw invalidInput('the page', [{ path: 'limit', message: 'must be a whole number, 0 or more' }]);
  }
  return Math.min(limit, limits.pageSize);
}
