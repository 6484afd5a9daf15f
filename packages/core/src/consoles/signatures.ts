import type { Pattern } from './patterns.ts';

/** What kind of trouble a failure signature stands for. */
export type FailureKind =
  | 'panic'
  | 'oops'
  | 'bug'
  | 'warning'
  | 'lockdep'
  | 'hung-task'
  | 'lockup'
  | 'rcu-stall'
  | 'sanitizer'
  | 'out-of-memory'
  | 'init'
  | 'bootloader'
  | 'firmware'
  | 'reset';

/**
 * A sign of trouble on a console, as data. `start` is looked for in each line without its `printk`
 * prefix, so `^` means the start of the message.
 */
export interface FailureSignature {
  /** Stable name, such as `kernel-panic`. */
  readonly id: string;
  readonly kind: FailureKind;
  /** `fatal` fails the boot; `warning` is recorded. */
  readonly severity: 'fatal' | 'warning';
  /** The line the report starts with. */
  readonly start: Pattern;
  /**
   * The line the report ends with. Without one, a fatal report ends when the console falls quiet
   * and a warning is that one line.
   */
  readonly end?: Pattern;
  /** Which sighting counts. Default 1; 2 for a boot banner, whose return means a reset. */
  readonly occurrence?: number;
}

const fatal = 'fatal';
const warning = 'warning';
/** After this line a panicked kernel says nothing more, or reboots. */
const panicEnd = /end Kernel panic|^Rebooting in \d+ seconds/;
/** An oops may go on to a panic after its "end trace", so only the panic's end cuts it short. */
const oopsEnd = panicEnd;
const endTrace = /---\[ end trace/;
const rule = /^={16,}/;

const initSignatures: readonly FailureSignature[] = [
  {
    id: 'init-killed',
    kind: 'init',
    severity: fatal,
    start: /Kernel panic - not syncing: Attempted to kill (?:init|the idle task)/,
    end: panicEnd,
  },
  {
    id: 'init-missing',
    kind: 'init',
    severity: fatal,
    start: /Kernel panic - not syncing: (?:No working init found|No init found|Requested init )/,
    end: panicEnd,
  },
  {
    id: 'root-mount',
    kind: 'init',
    severity: fatal,
    start: /VFS: (?:Unable to mount root fs|Cannot open root device)/,
    end: panicEnd,
  },
  { id: 'initramfs-shell', kind: 'init', severity: fatal, start: /Dropping to a shell!|^\(initramfs\)/ },
  {
    id: 'emergency-mode',
    kind: 'init',
    severity: fatal,
    start: /You are in emergency mode|Welcome to emergency mode|Entering emergency mode/,
  },
];

const kernelSignatures: readonly FailureSignature[] = [
  { id: 'kernel-panic', kind: 'panic', severity: fatal, start: 'Kernel panic - not syncing', end: panicEnd },
  {
    id: 'double-fault',
    kind: 'panic',
    severity: fatal,
    start: /PANIC: (?:double fault|early exception)/,
    end: panicEnd,
  },
  { id: 'kasan', kind: 'sanitizer', severity: fatal, start: 'BUG: KASAN:', end: rule },
  { id: 'kmsan', kind: 'sanitizer', severity: fatal, start: 'BUG: KMSAN:', end: rule },
  { id: 'kfence', kind: 'sanitizer', severity: fatal, start: 'BUG: KFENCE:', end: rule },
  { id: 'kcsan', kind: 'sanitizer', severity: warning, start: 'BUG: KCSAN:', end: rule },
  { id: 'ubsan', kind: 'sanitizer', severity: warning, start: /^UBSAN: /, end: /---\[ end trace|^={16,}/ },
  { id: 'soft-lockup', kind: 'lockup', severity: fatal, start: 'BUG: soft lockup' },
  { id: 'hard-lockup', kind: 'lockup', severity: fatal, start: 'Watchdog detected hard LOCKUP' },
  { id: 'workqueue-lockup', kind: 'lockup', severity: fatal, start: 'BUG: workqueue lockup' },
  {
    id: 'rcu-stall',
    kind: 'rcu-stall',
    severity: fatal,
    start: /INFO: rcu_\w{1,20} (?:self-)?detected (?:expedited )?stall|rcu_\w{1,20} kthread starved for/,
  },
  {
    id: 'hung-task',
    kind: 'hung-task',
    severity: fatal,
    start: /INFO: task .{1,80} blocked (?:on .{1,40} )?for more than \d+ seconds/,
  },
  {
    id: 'kernel-page-fault',
    kind: 'oops',
    severity: fatal,
    start: /BUG: (?:unable to handle|kernel NULL pointer dereference)/,
    end: oopsEnd,
  },
  { id: 'unable-to-handle', kind: 'oops', severity: fatal, start: /Unable to handle kernel /, end: oopsEnd },
  { id: 'internal-error', kind: 'oops', severity: fatal, start: /^Internal error: /, end: oopsEnd },
  {
    id: 'unhandled-fault',
    kind: 'oops',
    severity: fatal,
    start:
      /Unhandled (?:fault|prefetch abort)|^Bad mode in .{1,40} handler detected|Insufficient stack space to handle exception/,
    end: oopsEnd,
  },
  {
    id: 'cpu-exception',
    kind: 'oops',
    severity: fatal,
    start:
      /(?:general protection fault|invalid opcode|divide error|stack segment|int3|alignment check|segment not present).{0,120}\[#\d+\]/,
    end: oopsEnd,
  },
  { id: 'oops', kind: 'oops', severity: fatal, start: /\bOops(?: - [\w ]{1,40})?(?:: | \[#\d+\])/, end: oopsEnd },
  {
    id: 'atomic-sleep',
    kind: 'bug',
    severity: warning,
    start:
      /BUG: (?:sleeping function called from invalid context|scheduling while atomic|using (?:smp_processor_id|__this_cpu_\w+)\(\) in preemptible)/,
  },
  {
    id: 'kernel-bug',
    kind: 'bug',
    severity: fatal,
    start: /[Kk]ernel BUG (?:at|in) |\bBUG: |^BUG kmalloc-/,
    end: oopsEnd,
  },
  {
    id: 'lockdep',
    kind: 'lockdep',
    severity: warning,
    start:
      /WARNING: (?:possible (?:circular locking|recursive locking|irq lock inversion|deadlock)|suspicious RCU usage|inconsistent lock state|bad unlock balance|held lock freed|.{1,40} detected!$)|INFO: inconsistent lock state/,
  },
  {
    id: 'kernel-warning',
    kind: 'warning',
    severity: warning,
    start: /WARNING: (?:CPU: \d{1,9} PID: \d{1,9} at |\S+:\d{1,9} at )/,
    end: endTrace,
  },
  { id: 'out-of-memory', kind: 'out-of-memory', severity: warning, start: /Out of memory: Kill(?:ed)? process/ },
];

const firmwareSignatures: readonly FailureSignature[] = [
  {
    id: 'u-boot-reset-request',
    kind: 'bootloader',
    severity: fatal,
    start: /### ERROR ### Please RESET the board ###/,
  },
  {
    id: 'u-boot-exception',
    kind: 'bootloader',
    severity: fatal,
    start:
      /^"(?:Synchronous|Error)" ?(?:Abort|handler)|^"Synchronous Abort" handler|^(?:data|prefetch) abort$|^undefined instruction$/,
  },
  {
    id: 'u-boot-image',
    kind: 'bootloader',
    severity: fatal,
    start:
      /^Bad (?:Linux (?:ARM64|RISCV) Image magic!|Data CRC|Header Checksum|Magic Number)|^Wrong Image (?:Format|Type) for|^ERROR: can't get kernel image!|^ERROR: Did not find a cmdline Flattened Device Tree/,
  },
  {
    id: 'spl-boot-device',
    kind: 'bootloader',
    severity: fatal,
    start: /^SPL: (?:failed to boot from all boot devices|Unsupported Boot Device!)/,
  },
  {
    id: 'trusted-firmware',
    kind: 'firmware',
    severity: fatal,
    start:
      /^ERROR: {1,3}BL\d\w*: (?:Failed to load|.{0,40}[Ff]ailed)|^PANIC at PC ?:|^Unhandled Exception (?:in|from) EL/,
  },
  {
    id: 'uefi-exception',
    kind: 'firmware',
    severity: fatal,
    start: /^(?:Synchronous|SError) Exception at 0x|!!!! X64 Exception Type/,
  },
  { id: 'no-bootable-device', kind: 'firmware', severity: fatal, start: /No bootable device|^grub rescue>/ },
];

const resetSignatures: readonly FailureSignature[] = [
  { id: 'reset-spl', kind: 'reset', severity: fatal, start: /^U-Boot SPL \d{4}/, occurrence: 2 },
  { id: 'reset-u-boot', kind: 'reset', severity: fatal, start: /^U-Boot \d{4}\.\d{2}/, occurrence: 2 },
  { id: 'reset-linux', kind: 'reset', severity: fatal, start: /^Linux version \d/, occurrence: 2 },
];

/**
 * What kernels, boot loaders and firmware say when a boot goes wrong; the first that fits a line
 * counts, so the more telling ones stand first. A kernel that prints its log twice on purpose
 * (`keep_bootcon`) or is started by kexec needs `reset-linux` dropped.
 */
export const defaultSignatures: readonly FailureSignature[] = [
  ...initSignatures,
  ...kernelSignatures,
  ...firmwareSignatures,
  ...resetSignatures,
];

/**
 * The default signatures without those whose ids are dropped, after the added ones. An added
 * signature with the id of a default one takes its place.
 */
export function selectSignatures(
  change: { readonly add?: readonly FailureSignature[]; readonly drop?: readonly string[] } = {},
): readonly FailureSignature[] {
  const added = change.add ?? [];
  const gone = new Set([...(change.drop ?? []), ...added.map((signature) => signature.id)]);
  return [...added, ...defaultSignatures.filter((signature) => !gone.has(signature.id))];
}
