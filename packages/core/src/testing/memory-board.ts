import type { VmSpec } from '../contracts/hypervisor.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import type { Architecture } from '../model/architecture.ts';
import { MemoryLine } from './memory-console.ts';
import type { MemoryFlashStation } from './memory-flash.ts';
import { memoryFlash } from './memory-flash.ts';
import { memoryGuests, runMemoryGuest, type MemoryBoot } from './memory-guest.ts';
import type { MemoryHost } from './memory-host.ts';
import { memoryPower, type MemoryPowerOutlet } from './memory-power.ts';

/** What a {@link MemoryBoard} is made of. */
export interface MemoryBoardWiring {
  readonly name: string;
  readonly architecture: Architecture;
  /** Its system as the shell sees it: files and commands. */
  readonly host: MemoryHost;
  readonly clock: Clock;
  /** What it boots from an undamaged image, from its second power-on on. */
  readonly guest: MemoryBoot;
}

const bootIdPath = '/proc/sys/kernel/random/boot_id';

/**
 * A little machine in memory. With power and an undamaged image it runs its guest, which speaks on
 * the serial line; soon after, its shell answers. A damaged image panics. A board that hangs says
 * nothing and answers nothing until its power is cycled. A guest that is through says no more; one that
 * throws takes the board down.
 */
export class MemoryBoard {
  readonly name: string;
  /** Its serial line. What it says while nobody listens is in `line.said` alone. */
  readonly line: MemoryLine;
  /** Where its power comes from. */
  readonly outlet: MemoryPowerOutlet;
  /** What is flashed, and what goes wrong with it. */
  readonly flash: MemoryFlashStation;
  /** What an undamaged image boots from the next power-on on. */
  guest: MemoryBoot;
  /** From power-on until its shell answers. Default 5 s. */
  shellAfterMs = 5_000;
  readonly #wiring: MemoryBoardWiring;
  #running: AbortController | undefined;
  #startedAt = Number.NEGATIVE_INFINITY;
  #startedAtByte = 0;
  #hung = false;
  #crashed = false;
  #boots = 0;

  constructor(wiring: MemoryBoardWiring) {
    const { name, clock, host } = wiring;
    this.#wiring = wiring;
    this.name = name;
    this.guest = memoryGuests.shell;
    this.line = new MemoryLine(name, () => undefined);
    this.flash = memoryFlash({ clock, slots });
    this.outlet = memoryPower({
      name: `the outlet of ${name}`,
      initially: 'on',
      clock,
      onSwitched: (state) => (state === 'on' ? this.#powerOn() : this.#powerOff()),
    });
    host.isDown = () => !this.#answers();
    this.#powerOn();
    // It has been on for a while, with the maker's system, when the lab meets it.
    this.#startedAt = Number.NEGATIVE_INFINITY;
    this.guest = wiring.guest;
  }

  /** How often it was powered on, its first time included. */
  get boots(): number {
    return this.#boots;
  }

  /** It says nothing and answers nothing any more, until its power is cycled. */
  hang(): void {
    this.#hung = true;
    this.#stop('hangs');
  }

  /** Its power fails for a moment, whatever its outlet says. */
  powerGlitch(): void {
    if (this.outlet.actual === 'off') return;
    this.#powerOff();
    this.#powerOn();
  }

  #powerOn(): void {
    this.#boots += 1;
    this.#hung = false;
    this.#crashed = false;
    this.#startedAt = this.#wiring.clock.now();
    this.#startedAtByte = this.line.saidBytes;
    this.line.dropInput();
    const { fs } = this.#wiring.host;
    fs.makeFolder('/proc/sys/kernel/random', { recursive: true });
    fs.writeFile(bootIdPath, `00000000-0000-4000-8000-${String(this.#boots).padStart(12, '0')}\n`);
    const running = new AbortController();
    this.#running = running;
    const boot = this.flash.intact ? this.guest : memoryGuests.panics;
    const { host, clock } = this.#wiring;
    void runMemoryGuest(boot, { spec: this.#spec(), line: this.line, clock, host, signal: running.signal }).then(
      (how) => {
        if (this.#running === running) this.#crashed = how === 'crashed';
      },
    );
  }

  #powerOff(): void {
    this.#stop('is off');
  }

  #stop(why: string): void {
    this.#running?.abort(new BringupError('aborted', `${this.name} ${why}.`));
    this.#running = undefined;
    this.#wiring.host.dropConnections();
  }

  #answers(): boolean {
    if (this.outlet.actual === 'off' || this.#hung || this.#crashed || !this.flash.intact) return false;
    if (this.#wiring.clock.now() < this.#startedAt + this.shellAfterMs) return false;
    return !Buffer.from(this.line.saidFrom(this.#startedAtByte)).includes('Kernel panic');
  }

  /** The board as its guest sees it. */
  #spec(): VmSpec {
    const { name, architecture } = this.#wiring;
    return { name, architecture, cpus: 1, memoryMb: 512, kernel: '/dev/flash', commandLine: 'console=ttyS0', tags: {} };
  }
}

const slots = Object.fromEntries(['kernel', 'initrd', 'dtb', 'rootfs', 'firmware'].map((slot) => [slot, 64 * 2 ** 20]));
