import type { CallOptions, VmInfo } from '@bringup/core';
import type { Daemon } from './daemon.ts';
import type { DomainRef } from './domain.ts';
import { parseTags, tagsNamespace } from './tags.ts';

/** Look-ups one listing makes at the same time; the rest of the daemon's four slots serve others. */
const concurrentLookUps = 3;

/**
 * The tags of domains. Tags never change in the life of a domain, and libvirt gives each a UUID of
 * its own, so each domain is asked about once: listing a hundred VMs again is one call.
 */
export class TagCache {
  readonly #daemon: Daemon;
  readonly #known = new Map<string, VmInfo['tags'] | undefined>();

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  /** Tags of a VM of ours, or undefined for one of somebody else's. */
  async of(domain: DomainRef, options: CallOptions): Promise<VmInfo['tags'] | undefined> {
    const key = domain.uuid.toString('latin1');
    if (!this.#known.has(key)) {
      const xml = await this.#daemon.metadata(domain, tagsNamespace, options);
      this.#known.set(key, xml === undefined ? undefined : parseTags(xml));
    }
    return this.#known.get(key);
  }

  /** Tags of all domains of a host, in their order; those that are gone are forgotten. */
  async ofAll(domains: readonly DomainRef[], options: CallOptions): Promise<(VmInfo['tags'] | undefined)[]> {
    const keys = domains.map(({ uuid }) => uuid.toString('latin1'));
    if (this.#known.size > domains.length) {
      const present = new Set(keys);
      for (const key of this.#known.keys()) if (!present.has(key)) this.#known.delete(key);
    }
    const unknown = domains.filter((_, index) => !this.#known.has(keys[index] ?? '')).values();
    const work = async (): Promise<void> => {
      for (const domain of unknown) await this.of(domain, options);
    };
    if (this.#known.size < domains.length) await Promise.all(Array.from({ length: concurrentLookUps }, work));
    return keys.map((key) => this.#known.get(key));
  }

  forget(domain: DomainRef): void {
    this.#known.delete(domain.uuid.toString('latin1'));
  }
}
