import type { CallOptions } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { cleanConsoleText } from '../consoles/console-text.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { architectureNames, architectures, type Architecture } from '../model/architecture.ts';
import type { NetworkInterface, Toolchain } from '../model/resource.ts';
import { factsScript, networkScript, toolchainsScript } from './probe-scripts.ts';

/** What a machine says of itself. */
export interface MachineFacts {
  /** Absolute, without links. */
  readonly workspace: string;
  readonly architecture: Architecture;
  readonly kernelVersion: string;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly freeGb: number;
}

/** What runs commands: a shell session, or a shell on a console. */
export type CommandRunner = Pick<ShellSession, 'exec'>;

/** Runs one of the scripts and gives what it prints. @throws `command-failed`, and those of the session. */
export async function runScript(
  session: CommandRunner,
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
  session: CommandRunner,
  workspace: string | undefined,
  options: CallOptions = {},
): Promise<MachineFacts> {
  const output = await runScript(session, 'looking at the machine', factsScript, [workspace ?? ''], options);
  const facts = new Map(
    linesOf(output)
      .filter((line) => line.includes(' '))
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)] as const),
  );
  const machine = facts.get('machine') ?? '';
  const architecture = architectureOfMachine(machine);
  if (architecture === undefined) {
    throw new BringupError(
      'unsupported',
      `the machine is a '${machine.slice(0, 80)}'; known are ${architectures.join(', ')}`,
      { details: { machine: machine.slice(0, 80) } },
    );
  }
  const found = facts.get('workspace') ?? '';
  if (!found.startsWith('/')) throw notUnderstood('workspace', found);
  const count = (key: string): number => {
    const value = Number(facts.get(key) ?? 0);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw notUnderstood(key, facts.get(key) ?? '');
  };
  return {
    workspace: found,
    architecture,
    kernelVersion: facts.get('kernel') ?? '',
    cpuCores: count('cpus'),
    memoryMb: Math.floor(count('memory_kb') / 1024),
    freeGb: Math.round((count('free_kb') / 1024 / 1024) * 10) / 10,
  };
}

function notUnderstood(what: string, said: string): BringupError {
  const words = JSON.stringify(said.slice(0, 80));
  return new BringupError('command-failed', `looking at the machine failed: it says ${words} of its ${what}`, {
    details: { fact: what },
  });
}

/**
 * What a machine printed, line by line. It gets into records and onto terminals: no control characters but the tab
 * between fields, and no more than there can be.
 */
export function linesOf(output: string): string[] {
  return output
    .split('\n', limits.probeLines)
    .map((line) => cleanConsoleText(line.slice(0, limits.probeLineChars)).replaceAll('\r', ''));
}

/**
 * Finds the compilers on a machine: gcc, its cross compilers, clang, and those with a version in their name. The same
 * compiler under two names is told once.
 * @throws `command-failed`, and those of the session.
 */
export async function probeToolchains(session: CommandRunner, options: CallOptions = {}): Promise<Toolchain[]> {
  const output = await runScript(session, 'looking for toolchains', toolchainsScript, [], options);
  const found = new Map<string, Toolchain>();
  for (const line of linesOf(output)) {
    const [name, path, version, triplet, targets = ''] = line.split('\t');
    if (name === undefined || path === undefined || version === undefined || triplet === undefined) continue;
    for (const targetArchitecture of name === 'clang' ? llvmArchitectures(targets) : gccArchitectures(triplet)) {
      const toolchain: Toolchain = { name, version, targetArchitecture, triplet, path, available: true };
      const key = [name, version, targetArchitecture, triplet].join(' ');
      if (!found.has(key)) found.set(key, toolchain);
    }
  }
  return [...found.values()];
}

/** A compiler for bare metal, such as `arm-none-eabi`, is none for Linux. */
function gccArchitectures(triplet: string): readonly Architecture[] {
  const architecture = architectureOfMachine(triplet.split('-')[0] ?? '');
  return architecture === undefined || !triplet.includes('-linux') ? [] : [architecture];
}

const llvmNames: Readonly<Record<Architecture, string>> = {
  x86_64: 'x86-64',
  arm64: 'aarch64',
  armv7: 'arm',
  riscv64: 'riscv64',
};

/** One clang compiles for all the targets it was built with; an old one can't tell them. */
function llvmArchitectures(targets: string): readonly Architecture[] {
  const known = targets.split(' ');
  const some = architectures.filter((architecture) => known.includes(llvmNames[architecture]));
  return some.length === 0 ? architectures : some;
}

/** The network interfaces of a machine, loopback left out. @throws as {@link probeFacts}. */
export async function probeNetwork(session: CommandRunner, options: CallOptions = {}): Promise<NetworkInterface[]> {
  const output = await runScript(session, 'looking at the network', networkScript, [], options);
  const lines = linesOf(output).map((line) => line.split('\t'));
  return lines
    .filter(([what]) => what === 'link')
    .map(([, name = '', state = '', mac = '', speed = '']) => ({
      name,
      state: state === 'up' || state === 'down' ? state : 'unknown',
      ...(mac !== '' && { macAddress: mac }),
      // The kernel says -1 for a link that is down.
      ...(Number(speed) > 0 && { speedMbps: Number(speed) }),
      addresses: lines.filter(([what, of]) => what === 'address' && of === name).map(([, , address = '']) => address),
    }));
}

/** Our name for what `uname -m` or a compiler's triplet calls a machine. */
export function architectureOfMachine(machine: string): Architecture | undefined {
  if (/^(arm|armv[678]l?|armhf)$/.test(machine)) return 'armv7';
  if (machine === 'aarch64_be') return undefined;
  return architectures.find(
    (architecture) => architecture === machine || architectureNames[architecture].uname === machine,
  );
}
