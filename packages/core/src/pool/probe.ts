import type { CallOptions } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { architectureNames, architectures, type Architecture } from '../model/architecture.ts';
import type { Toolchain } from '../model/resource.ts';

/**
 * Prints facts of a machine as `key value` lines. `$1`: the workspace, or empty for the default; it
 * is made if it is missing, since only then its free space can be known.
 */
export const factsScript: string = `set -eu
workspace=\${1:-$HOME/.bringup}
mkdir -p -- "$workspace"
cd -- "$workspace"
printf 'workspace %s\\n' "$(pwd -P)"
printf 'machine %s\\n' "$(uname -m)"
printf 'cpus %s\\n' "$(getconf _NPROCESSORS_ONLN)"
while read -r key value unit; do
  case $key in MemTotal:) printf 'memory_kb %s\\n' "$value";; esac
done < /proc/meminfo
df -Pk . | { read -r header; read -r device blocks used available rest; printf 'free_kb %s\\n' "$available"; }
`;

/**
 * Prints one line a compiler: `name<TAB>path<TAB>version<TAB>target machine`. The arguments are the
 * GNU triplets whose cross compilers are looked for.
 */
export const toolchainsScript: string = `
tell() {
  path=$(command -v "$2") || return 0
  version=$("$path" -dumpfullversion 2>/dev/null) || version=
  [ -n "$version" ] || version=$("$path" -dumpversion 2>/dev/null) || return 0
  machine=$("$path" -dumpmachine 2>/dev/null) || return 0
  printf '%s\\t%s\\t%s\\t%s\\n' "$1" "$path" "$version" "$machine"
}
tell gcc gcc
for triplet do tell gcc "$triplet-gcc"; done
tell clang clang
`;

/** What a machine says of itself. */
export interface MachineFacts {
  /** Absolute, without links. */
  readonly workspace: string;
  readonly architecture: Architecture;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly freeGb: number;
}

async function runScript(
  session: ShellSession,
  what: string,
  script: string,
  args: readonly string[],
  options: CallOptions,
): Promise<string> {
  const result = await session.exec(['sh', '-c', script, 'bringup', ...args], {
    timeoutMs: limits.execTimeoutMs,
    ...options,
  });
  if (result.exitCode === 0) return result.stdout.toString('utf8');
  const said = result.stderr.toString('utf8').trim().slice(0, 1000);
  throw new BringupError('command-failed', `${what} failed: ${said || `exit status ${result.exitCode}`}`, {
    details: { exitCode: result.exitCode, stderr: said },
  });
}

/** Looks at a machine and its workspace. @throws `command-failed`, `unsupported`, and those of the session. */
export async function probeFacts(
  session: ShellSession,
  workspace: string | undefined,
  options: CallOptions = {},
): Promise<MachineFacts> {
  const output = await runScript(session, 'looking at the machine', factsScript, [workspace ?? ''], options);
  const facts = new Map(
    output
      .split('\n')
      .filter((line) => line.includes(' '))
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)] as const),
  );
  const machine = facts.get('machine') ?? '';
  const architecture = architectureOfMachine(machine);
  if (architecture === undefined) {
    throw new BringupError('unsupported', `the machine is a '${machine}'; known are ${architectures.join(', ')}`, {
      details: { machine },
    });
  }
  return {
    workspace: facts.get('workspace') ?? '',
    architecture,
    cpuCores: Number(facts.get('cpus') ?? 0),
    memoryMb: Math.floor(Number(facts.get('memory_kb') ?? 0) / 1024),
    freeGb: Math.round((Number(facts.get('free_kb') ?? 0) / 1024 / 1024) * 10) / 10,
  };
}

/** Finds the compilers on a machine. @throws `command-failed`, and those of the session. */
export async function probeToolchains(session: ShellSession, options: CallOptions = {}): Promise<Toolchain[]> {
  const triplets = architectures.map((architecture) => architectureNames[architecture].gnuTriplet);
  const output = await runScript(session, 'looking for toolchains', toolchainsScript, triplets, options);
  const found = new Map<string, Toolchain>();
  for (const line of output.split('\n')) {
    const [name, path, version, machine] = line.split('\t');
    if (name === undefined || path === undefined || version === undefined || machine === undefined) continue;
    // One clang compiles for all of them.
    const targets = name === 'clang' ? architectures : [architectureOfMachine(machine.split('-')[0] ?? '')];
    for (const targetArchitecture of targets) {
      if (targetArchitecture === undefined) continue;
      const toolchain: Toolchain = { name, version, targetArchitecture, path, available: true };
      const key = `${name} ${targetArchitecture}`;
      if (!found.has(key)) found.set(key, toolchain);
    }
  }
  return [...found.values()];
}

/** Our name for what `uname -m` or a compiler's triplet calls a machine. */
export function architectureOfMachine(machine: string): Architecture | undefined {
  if (/^(arm|armv[678]l?|armhf)$/.test(machine)) return 'armv7';
  if (machine === 'aarch64_be') return undefined;
  return architectures.find(
    (architecture) => architecture === machine || architectureNames[architecture].uname === machine,
  );
}
