import { watch, type FSWatcher } from 'node:fs';
import type { Clock, Timer } from '../contracts/runtime.ts';
import type { VmEvent } from '../contracts/hypervisor.ts';
import { limits } from '../limits.ts';
import { listQemuFolders, type QemuFolder, type QemuLife } from './qemu-folder.ts';
import type { VmEventFeed } from './vm-events.ts';

interface KnownVm {
  readonly name: string;
  readonly life: QemuLife;
  readonly watcher: FSWatcher;
}

/**
 * Publishes what happens to the VMs of a workspace, whichever process causes it, by watching the
 * marks in their folders. A killed QEMU leaves no mark: a slow probe finds those.
 */
export class QemuWatcher implements Disposable {
  readonly #workspace: string;
  readonly #clock: Clock;
  readonly #feed: VmEventFeed;
  /** By id: a name can come back as another VM. */
  readonly #known = new Map<string, KnownVm>();
  #folders: FSWatcher | undefined;
  #probe: Timer | undefined;
  #scanning = false;
  #again = false;
  #disposed = false;

  constructor(workspace: string, clock: Clock, feed: VmEventFeed) {
    this.#workspace = workspace;
    this.#clock = clock;
    this.#feed = feed;
  }

  /** Takes what there is as given; changes are published from here on. */
  async start(): Promise<void> {
    this.#scanning = true;
    this.#folders = watchQuietly(this.#workspace, () => this.#look());
    await this.#scan(false);
    void this.#scanWhileChanging();
    this.#scheduleProbe();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#probe?.[Symbol.dispose]();
    this.#folders?.close();
    for (const { watcher } of this.#known.values()) watcher.close();
  }

  #scheduleProbe(): void {
    if (this.#disposed) return;
    this.#probe = this.#clock.timer(
      limits.vmProbeMs,
      () => {
        this.#look();
        this.#scheduleProbe();
      },
      { background: true },
    );
  }

  #look(): void {
    this.#again = true;
    if (!this.#scanning) void this.#scanWhileChanging();
  }

  async #scanWhileChanging(): Promise<void> {
    this.#scanning = true;
    while (this.#again && !this.#disposed) {
      this.#again = false;
      // A folder that vanishes while it is read is seen as gone by the next scan.
      await this.#scan(true).catch(() => {});
    }
    this.#scanning = false;
  }

  async #scan(publish: boolean): Promise<void> {
    const present = new Set<string>();
    for (const folder of await listQemuFolders(this.#workspace)) {
      const id = (await folder.record())?.id;
      const life = id === undefined ? undefined : await folder.life(id);
      if (this.#disposed) return;
      if (id === undefined || life === undefined) continue;
      present.add(id);
      this.#update(folder, id, life, publish);
    }
    for (const [id, { name, life, watcher }] of this.#known) {
      if (present.has(id)) continue;
      watcher.close();
      this.#known.delete(id);
      if (publish) this.#publish(name, lastEvents(life));
    }
  }

  #update({ name, stateFolder }: QemuFolder, id: string, life: QemuLife, publish: boolean): void {
    const known = this.#known.get(id);
    const watcher = known?.watcher ?? watchQuietly(stateFolder, () => this.#look());
    this.#known.set(id, { name, life, watcher });
    // What came about between the scan and the watch is found by another scan.
    if (known === undefined) this.#again = true;
    if (publish) this.#publish(name, eventsBetween(known?.life, life));
  }

  #publish(name: string, types: readonly VmEvent['type'][]): void {
    for (const type of types) this.#feed.publish({ name, type });
  }
}

/** What must have happened for a VM to come from one state into another. */
function eventsBetween(before: QemuLife | undefined, now: QemuLife): readonly VmEvent['type'][] {
  if (now.phase === 'half-created') return [];
  const events: VmEvent['type'][] = [];
  const existed = before !== undefined && before.phase !== 'half-created';
  if (!existed) events.push('created');
  if (now.started && before?.started !== true) events.push('started');
  if (before !== undefined && now.resets > before.resets) events.push('rebooted');
  if (now.phase !== 'alive' && (!existed || before.phase === 'alive')) events.push(now.phase);
  return events;
}

/** What must have happened for a VM to be gone. */
function lastEvents({ phase }: QemuLife): readonly VmEvent['type'][] {
  if (phase === 'half-created') return [];
  return phase === 'alive' ? ['stopped', 'removed'] : ['removed'];
}

function watchQuietly(path: string, onChange: () => void): FSWatcher {
  const watcher = watch(path, { persistent: false }, onChange);
  watcher.on('error', () => {});
  return watcher;
}
