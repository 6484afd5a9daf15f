import { vitalsScript } from '../health/vitals.ts';
import type { MemoryMachine } from './memory-machine.ts';
import type { MemoryCommand } from './memory-process.ts';

/** Clock ticks a second and CPU, as on every Linux. */
const ticksPerSecond = 100;

interface Ticks {
  readonly at: number;
  readonly busy: number;
  readonly total: number;
}

/** What the SDK's script that looks at a machine's health does, by its text. */
export function memoryVitals(machineOf: (hostname: string) => MemoryMachine): ReadonlyMap<string, MemoryCommand> {
  const ticks = new Map<string, Ticks>();
  return new Map<string, MemoryCommand>([
    [
      vitalsScript,
      async ({ hostname, clock, stdout }) => {
        const machine = machineOf(hostname);
        const { memoryMb = 16_384, memoryPercent = 20, storageGb = 200, storageUsedGb = 50 } = machine;
        const { kernelVersion = '6.1.0', networkBytes = 0, compilers = 0, temperatureCelsius } = machine;
        const { busy, total } = tick(ticks, hostname, clock.now(), machine);
        const memoryKb = memoryMb * 1024;
        const gb = (amount: number): number => Math.floor(amount * 1024 * 1024);
        const lines = [
          `kernel ${kernelVersion}`,
          `cpu ${Math.round(busy)} ${Math.round(total)}`,
          `memory_kb ${memoryKb} ${Math.round(memoryKb * (1 - memoryPercent / 100))}`,
          `storage_kb ${gb(storageUsedGb)} ${gb(storageGb)}`,
          `network ${networkBytes} ${networkBytes}`,
          ...(temperatureCelsius === undefined ? [] : [`millidegrees ${Math.round(temperatureCelsius * 1000)}`]),
          `compilers ${compilers}`,
        ];
        await stdout.write(lines.map((line) => `${line}\n`).join(''));
      },
    ],
  ]);
}

/** Moves a machine's clock ticks on to now: it was as busy as it is now since it was last looked at. */
function tick(ticks: Map<string, Ticks>, hostname: string, now: number, machine: MemoryMachine): Ticks {
  const { cpuCores = 8, cpuPercent = 5 } = machine;
  const before = ticks.get(hostname) ?? { at: now - 1000, busy: 0, total: 0 };
  const passed = ((now - before.at) / 1000) * ticksPerSecond * cpuCores;
  const after = { at: now, busy: before.busy + (passed * cpuPercent) / 100, total: before.total + passed };
  ticks.set(hostname, after);
  return after;
}
