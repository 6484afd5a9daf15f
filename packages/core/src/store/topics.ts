import type { WorkKind } from '../model/work.ts';

/**
 * What a commit may have changed for those who wait: work, requests to stop it, the event feed, one log. `ready:KIND`: there is
 * work of that kind that the committing process has not claimed itself. `elsewhere`: another process has committed
 * something, and word does not say what.
 */
export type Topic =
  'work' | 'stops' | 'events' | 'grants' | 'elsewhere' | `ready:${WorkKind}` | `end:${string}` | `log:${string}`;

/** Whether only other processes are woken: one has claimed what it has room for when it commits. */
export function isForOthers(topic: Topic): boolean {
  return topic.startsWith('ready:');
}
