import {
  systemClock,
  type CapacityRequest,
  type Clock,
  type Lab,
  type SelectionCandidate,
  type SelectionStrategy,
} from '@bringup/core';

/** Options of {@link WarmCcache}. */
export interface WarmCcacheOptions {
  /** After this long a ccache is worth half: files have made room, and the source has moved on. Default a day. */
  readonly halfLifeMs?: number;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/**
 * Sends builds where the ccache is warm: to servers that have built the same repository before, the
 * more so the shorter ago. It outweighs a server that is idle by three to one, so that a warm server
 * with two of four slots taken still wins, and a full one is no candidate anyway.
 */
export class WarmCcache implements SelectionStrategy {
  readonly name = 'warm-ccache';
  readonly kinds = ['build_server'] as const;
  readonly weight = 3;
  readonly #clock: Clock;
  readonly #halfLifeMs: number;
  /** When a repository was last built on a server, by repository and server. */
  readonly #builtAt = new Map<string, number>();

  constructor({ halfLifeMs = 24 * 3_600_000, clock = systemClock }: WarmCcacheOptions = {}) {
    this.#clock = clock;
    this.#halfLifeMs = halfLifeMs;
  }

  /** Called within a transaction: it looks at what it knows, and asks nobody. */
  score({ resourceId }: SelectionCandidate, { repository }: CapacityRequest): number {
    const at = this.#builtAt.get(key(repository, resourceId));
    return at === undefined ? 0 : 100 * 0.5 ** ((this.#clock.now() - at) / this.#halfLifeMs);
  }

  /** Learns from the builds there were, and from now on from each that succeeds. Dispose of the result to stop. */
  async learnFrom(lab: Lab): Promise<Disposable> {
    const listening = await lab.events.on('build:succeeded', ({ subject }) => void this.#learn(lab, subject));
    for (const { id } of (await lab.builds.getBuildHistory()).toReversed()) await this.#learn(lab, id);
    return listening;
  }

  async #learn(lab: Lab, buildId: string): Promise<void> {
    const { status, sourceRepository, serverId, completedAt } = await lab.builds.getBuildStatus(buildId);
    if (status !== 'completed' || serverId === undefined || completedAt === undefined) return;
    this.#builtAt.set(key(sourceRepository, serverId), completedAt);
  }
}

function key(repository: string | undefined, serverId: string): string {
  return `${serverId} ${repository ?? ''}`;
}
