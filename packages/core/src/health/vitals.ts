import type { CallOptions } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { cleanConsoleText } from '../consoles/console-text.ts';
import { BringupError } from '../errors.ts';
import type { ResourceUtilization } from '../model/health.ts';

/**
 * Prints what a machine is busy with, as `key value…` lines. `$1`: its workspace; empty, or gone: the
 * root of its files. Everything but the free space is read by the shell itself: a look that starts
 * processes would show up in what it measures.
 */
export const vitalsScript: string = `
cd -- "\${1:-/}" 2>/dev/null || cd /
read -r kernel < /proc/sys/kernel/osrelease
printf 'kernel %s\\n' "$kernel"
read -r _ user nice system idle iowait irq softirq steal _ < /proc/stat
busy=$((user + nice + system + irq + softirq + steal))
printf 'cpu %s %s\\n' "$busy" "$((busy + idle + iowait))"
while read -r key value _; do
  case $key in
    MemTotal:) total=$value;;
    MemAvailable:) printf 'memory_kb %s %s\\n' "$total" "$value"; break;;
  esac
done < /proc/meminfo
df -Pk . | { read -r _; read -r _ _ used available _; printf 'storage_kb %s %s\\n' "$used" "$available"; }
in=0 out=0
while read -r line; do
  case $line in lo:*) continue;; *:*) ;; *) continue;; esac
  set -- \${line#*:}
  in=$((in + $1)) out=$((out + $9))
done < /proc/net/dev
printf 'network %s %s\\n' "$in" "$out"
hottest=
for zone in /sys/class/thermal/thermal_zone*/temp; do
  { read -r value < "$zone"; } 2>/dev/null || continue
  case $value in ''|*[!0-9]*) continue;; esac
  if [ -z "$hottest" ] || [ "$value" -gt "$hottest" ]; then hottest=$value; fi
done
if [ -n "$hottest" ]; then printf 'millidegrees %s\\n' "$hottest"; fi
compilers=0
for process in /proc/[0-9]*/comm; do
  { read -r name < "$process"; } 2>/dev/null || continue
  case $name in cc1|cc1plus|clang|clang-[0-9]*|rustc) compilers=$((compilers + 1));; esac
done
printf 'compilers %s\\n' "$compilers"
`;

/** What {@link vitalsScript} says. Counters count from the machine's boot. */
export interface Vitals {
  readonly kernelVersion: string;
  /** Clock ticks of all CPUs. */
  readonly cpuBusy: number;
  readonly cpuTotal: number;
  readonly memoryKb: number;
  readonly memoryAvailableKb: number;
  readonly storageUsedKb: number;
  readonly storageFreeKb: number;
  readonly networkBytesIn: number;
  readonly networkBytesOut: number;
  readonly temperatureCelsius?: number;
  readonly compilers: number;
}

/** What the load of CPUs is reckoned from. */
export type CpuTicks = Pick<Vitals, 'cpuBusy' | 'cpuTotal'>;

/** Looks at a machine. @throws `command-failed`, and those of the session. */
export async function readVitals(
  session: Pick<ShellSession, 'exec'>,
  workspace: string | undefined,
  options: CallOptions,
): Promise<Vitals> {
  const result = await session.exec(['sh', '-c', vitalsScript, 'bringup', workspace ?? ''], options);
  const vitals = result.exitCode === 0 ? parseVitals(result.stdout.toString('latin1')) : undefined;
  if (vitals !== undefined) return vitals;
  const said = result.stderr.toString('utf8').trim().slice(0, 1000);
  throw new BringupError('command-failed', `it could not be looked at: ${said || `exit status ${result.exitCode}`}`, {
    details: { exitCode: result.exitCode, stderr: said },
  });
}

/** Reads what the script printed; undefined when something that every Linux has is missing. */
export function parseVitals(output: string): Vitals | undefined {
  const text = `\n${output}`;
  const kernel = valueAt(text, '\nkernel ');
  const cpu = valueAt(text, '\ncpu ');
  const memory = valueAt(text, '\nmemory_kb ');
  const storage = valueAt(text, '\nstorage_kb ');
  const network = valueAt(text, '\nnetwork ');
  const temperature = numberAt(text, valueAt(text, '\nmillidegrees ')) / 1000;
  const vitals: Vitals = {
    kernelVersion: kernel === -1 ? '' : plainWord(text.slice(kernel, endOfLine(text, kernel))),
    cpuBusy: numberAt(text, cpu),
    cpuTotal: numberAt(text, nextWord(text, cpu)),
    memoryKb: numberAt(text, memory),
    memoryAvailableKb: numberAt(text, nextWord(text, memory)),
    storageUsedKb: numberAt(text, storage),
    storageFreeKb: numberAt(text, nextWord(text, storage)),
    networkBytesIn: numberAt(text, network),
    networkBytesOut: numberAt(text, nextWord(text, network)),
    compilers: numberAt(text, valueAt(text, '\ncompilers ')),
    ...(Number.isFinite(temperature) && { temperatureCelsius: temperature }),
  };
  return isComplete(vitals) ? vitals : undefined;
}

function isComplete(vitals: Vitals): boolean {
  const { cpuBusy, cpuTotal, memoryKb, memoryAvailableKb, storageUsedKb, storageFreeKb, compilers } = vitals;
  // What is no number makes the sum none.
  const sum = cpuBusy + cpuTotal + memoryKb + memoryAvailableKb + storageUsedKb + storageFreeKb + compilers;
  return Number.isFinite(sum + vitals.networkBytesIn + vitals.networkBytesOut);
}

// A thousand looks a second are read: nothing is made but the numbers.

/** A release of a kernel has at most 64 bytes (uname(2)), and gets into records and onto terminals. */
function plainWord(said: string): string {
  return cleanConsoleText(said.slice(0, 64)).replaceAll(/[\r\t]/g, '');
}

/** Where the value of a key begins; -1 where it is missing. */
function valueAt(text: string, key: string): number {
  const at = text.indexOf(key);
  return at === -1 ? -1 : at + key.length;
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end === -1 ? text.length : end;
}

/** Where the word after the one at `at` begins; -1 where the line has no other. */
function nextWord(text: string, at: number): number {
  if (at === -1) return -1;
  const space = text.indexOf(' ', at);
  return space === -1 || space > endOfLine(text, at) ? -1 : space + 1;
}

/** The whole number that a word is; NaN where it is none. */
function numberAt(text: string, at: number): number {
  if (at === -1) return Number.NaN;
  let value = 0;
  for (let index = at; ; index += 1) {
    const code = text.charCodeAt(index);
    const isDigit = code >= 48 && code <= 57;
    if (isDigit) value = value * 10 + code - 48;
    else return index > at && (Number.isNaN(code) || code === 32 || code === 10) ? value : Number.NaN;
  }
}

/** What a machine is busy with: its CPUs since the look before or, at the first one, since its boot. */
export function utilizationOf(vitals: Vitals, before?: CpuTicks): ResourceUtilization {
  // Counters that went back: it was booted in between.
  const since = before !== undefined && before.cpuTotal < vitals.cpuTotal ? before : { cpuBusy: 0, cpuTotal: 0 };
  return {
    cpuPercent: percent(vitals.cpuBusy - since.cpuBusy, vitals.cpuTotal - since.cpuTotal),
    memoryPercent: percent(vitals.memoryKb - vitals.memoryAvailableKb, vitals.memoryKb),
    storagePercent: percent(vitals.storageUsedKb, vitals.storageUsedKb + vitals.storageFreeKb),
    networkBytesIn: vitals.networkBytesIn,
    networkBytesOut: vitals.networkBytesOut,
  };
}

/** One digit after the point, 0…100. */
function percent(part: number, whole: number): number {
  if (whole <= 0) return 0;
  return Math.min(100, Math.max(0, Math.round((part / whole) * 1000) / 10));
}
