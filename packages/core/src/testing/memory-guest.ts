import { sleep } from '../async.ts';
import type { VmSpec } from '../contracts/hypervisor.ts';
import type { Clock } from '../contracts/runtime.ts';
import { tinyGuest } from '../local/tiny-guest.ts';
import type { BytePipe } from './byte-pipe.ts';
import { serveConsoleShell } from './memory-console-shell.ts';
import type { MemoryLine } from './memory-console.ts';
import type { MemoryHost } from './memory-host.ts';

/** The machine that a {@link MemoryBoot} plays. */
export interface MemoryGuest {
  /** What the VM was created with; of a board, what it is. */
  readonly spec: VmSpec;
  /** Prints on the console; text as UTF-8. */
  say(data: string | Uint8Array): void;
  /** What arrives on the console, until the VM ends. */
  input(): AsyncIterable<Uint8Array>;
  /** Runs a command on the machine; both of its streams, as a terminal shows them. */
  run(argv: readonly string[]): Promise<{ readonly exitCode: number; readonly output: string }>;
  /** Lets time pass on the hypervisor's clock. @throws `aborted` when the VM ends meanwhile. */
  sleep(durationMs: number): Promise<void>;
  /** Does nothing until the VM ends. */
  idle(): Promise<void>;
}

/**
 * A guest as a script: a function that plays the machine, or what it prints, piece by piece. When it
 * is through, the VM has stopped, as after a reboot with `-no-reboot`; end it with `guest.idle()`
 * to keep the VM running. When it throws, the VM has crashed.
 */
export type MemoryBoot = (guest: MemoryGuest) => Promise<void> | AsyncIterable<string | Uint8Array>;

/** Guests that tests need often. */
export const memoryGuests: Readonly<
  Record<'tiny' | 'passes' | 'shell' | 'silent' | 'panics', (guest: MemoryGuest) => Promise<void>>
> = {
  /** Behaves as {@link tinyGuestImage} does: greets with its command line, echoes, stops on `q`. */
  tiny: async (guest) => {
    guest.say(`${tinyGuest.greeting}${guest.spec.kernel} ${guest.spec.commandLine}\r\n`);
    const quit = tinyGuest.quit.charCodeAt(0);
    for await (const chunk of guest.input()) {
      const end = chunk.indexOf(quit);
      guest.say(end === -1 ? chunk : chunk.subarray(0, end));
      if (end !== -1) return;
    }
  },
  /** Boots, reports two tests in KTAP that pass, and stops. */
  passes: async (guest) => {
    guest.say('[    0.000000] Linux version 6.1.0 (builder@lab)\r\n');
    guest.say('KTAP version 1\r\n1..2\r\nok 1 clock\r\nok 2 memory\r\n');
  },
  /** Boots to a login prompt; behind it is a shell of root's that runs commands. */
  shell: async (guest) => {
    guest.say('[    0.000000] Linux version 6.1.0 (builder@lab)\r\n');
    await serveConsoleShell(guest);
  },
  /** Runs and never says a word. */
  silent: (guest) => guest.idle(),
  /** Boots a little, panics as Linux does, and hangs. */
  panics: async (guest) => {
    guest.say('[    0.000000] Linux version 6.1.0 (builder@lab)\r\n');
    guest.say('[    0.912345] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n');
    guest.say(
      '[    0.912400] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---\r\n',
    );
    await guest.idle();
  },
};

/** Where a {@link MemoryBoot} is played. */
export interface MemoryGuestStage {
  readonly spec: VmSpec;
  readonly line: MemoryLine;
  readonly clock: Clock;
  /** Its files and commands. */
  readonly host: MemoryHost;
  /** Aborts when the machine loses its power. */
  readonly signal: AbortSignal;
}

/** Plays a script until it is through or the machine loses its power. Says how it ended. */
export async function runMemoryGuest(boot: MemoryBoot, stage: MemoryGuestStage): Promise<'stopped' | 'crashed'> {
  const { spec, line, clock, host, signal } = stage;
  const guest: MemoryGuest = {
    spec,
    // What a machine without power says is not heard.
    say: (data) => {
      if (!signal.aborted) line.say(data);
    },
    input: () => line.input(signal),
    run: (argv) => runCommand(host, argv),
    sleep: (durationMs) => sleep(clock, durationMs, signal),
    idle: () => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  };
  try {
    const playing = boot(guest);
    if (!(Symbol.asyncIterator in playing)) await playing;
    else {
      for await (const piece of playing) {
        if (signal.aborted) break;
        line.say(piece);
      }
    }
    return 'stopped';
  } catch {
    return 'crashed';
  }
}

async function runCommand(
  host: MemoryHost,
  argv: readonly string[],
): Promise<{ readonly exitCode: number; readonly output: string }> {
  const process = host.start(argv, 'root', {});
  await process.end();
  const read = async (stream: BytePipe): Promise<string> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks).toString('utf8');
  };
  const [stdout, stderr] = await Promise.all([read(process.stdout), read(process.stderr)]);
  return { exitCode: (await process.exited).exitCode ?? 1, output: stdout + stderr };
}
