import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bootError,
  BootWatch,
  watchBoot,
  type BootOutcome,
  type BootWatchOptions,
} from '../../src/consoles/boot-watch.ts';
import { defaultSignatures, selectSignatures } from '../../src/consoles/signatures.ts';
import { limits } from '../../src/limits.ts';
import { fakeClock } from '../../src/testing/clock.ts';

const banner = '[    0.000000] Linux version 6.1.0 (gcc) #1 SMP\r\n';
const panic = [
  '[    1.500000] VFS: Cannot open root device "vda" or unknown-block(0,0): error -6',
  '[    1.510000] Please append a correct "root=" boot option; here are the available partitions:',
  '[    1.520000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)',
  '[    1.530000] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0 #1',
  '[    1.540000] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---',
]
  .map((line) => `${line}\r\n`)
  .join('');

async function watch(
  steps: (watch: BootWatch, clock: ReturnType<typeof fakeClock>) => void | Promise<void>,
  options: Partial<BootWatchOptions> = {},
): Promise<BootOutcome> {
  const clock = fakeClock();
  using boot = new BootWatch({ clock, success: [/login: $/, 'READY'], ...options });
  await steps(boot, clock);
  return await clock.runUntil(boot.outcome);
}

const say =
  (text: string) =>
  (boot: BootWatch): void =>
    boot.feed(Buffer.from(text));

describe('a boot watch', () => {
  it('sees a login prompt that has no line end', async () => {
    expect(await watch(say(`${banner}\r\nboard login: `))).toMatchObject({
      type: 'booted',
      pattern: '/login: $/',
      line: 'board login: ',
      offset: banner.length + 2,
    });
  });

  it('sees a success pattern that a kernel message cuts in two', async () => {
    const outcome = await watch(say(`${banner}RE[    2.123456] random: crng init done\r\nADY\r\n`));
    expect(outcome).toMatchObject({ type: 'booted', pattern: 'READY', line: 'READY' });
  });

  it('sees a prompt that a kernel message comes right behind of, in one piece', async () => {
    const prompt = { success: [{ regex: '^(?:\\S+ )?[#$] $' }] };
    const outcome = await watch(say(`${banner}/ # [   82.669128] random: crng init done\r\n`), prompt);
    expect(outcome).toMatchObject({ type: 'booted', line: '/ # ', offset: banner.length });
  });

  it('fails on a panic and keeps the report from its first to its last line', async () => {
    const outcome = await watch(say(`${banner}${panic}nothing of this\r\n`));
    expect(outcome).toMatchObject({
      type: 'failed',
      report: { signature: 'root-mount', kind: 'init', offset: banner.length, truncated: false },
    });
    expect(outcome.type === 'failed' && outcome.report.lines.length).toBe(5);
    expect(outcome.elapsedMs).toBe(0);
  });

  it('waits for the rest of a fatal report until the console is quiet', async () => {
    const outcome = await watch(async (boot, clock) => {
      say(`${banner}[    1.0] x\r\n[    3.000000] Internal error: Oops: 96000004 [#1] SMP\r\n`)(boot);
      await clock.advance(limits.bootReportQuietMs - 1);
      say('[    3.100000] Call trace:\r\n')(boot);
    });
    expect(outcome).toMatchObject({
      type: 'failed',
      report: { signature: 'internal-error', lines: [expect.any(String), '[    3.100000] Call trace:'] },
    });
    expect(outcome.elapsedMs).toBe(2 * limits.bootReportQuietMs - 1);
  });

  it('does not take a success pattern after a fatal report for a boot', async () => {
    const outcome = await watch(
      say('[    3.000000] Oops: 0000 [#1] SMP\r\nboard login: \r\n[    3.000001] Call Trace:\r\n'),
    );
    expect(outcome).toMatchObject({
      type: 'failed',
      report: { signature: 'oops', lines: [expect.any(String), 'board login: ', '[    3.000001] Call Trace:'] },
    });
  });

  it('closes a report that never ends', async () => {
    const outcome = await watch(async (boot, clock) => {
      say('Kernel panic - not syncing: x\n')(boot);
      for (let i = 0; i < 2 * limits.bootReportLines && !boot.settled; i += 1) {
        await clock.advance(limits.bootReportQuietMs / 2);
        say(`line ${i}\n`)(boot);
      }
    });
    expect(outcome).toMatchObject({ type: 'failed', elapsedMs: limits.bootReportMaxMs });
  });

  const warning =
    '------------[ cut here ]------------\nWARNING: CPU: 0 PID: 1 at mm/slub.c:12 kfree+0x1/0x2\nCall Trace:\n---[ end trace 0000000000000000 ]---\n';

  it('records a warning and goes on', async () => {
    const outcome = await watch(say(`${warning}READY\n`));
    expect(outcome).toMatchObject({
      type: 'booted',
      warnings: [{ signature: 'kernel-warning', severity: 'warning', offset: 0 }],
    });
    expect(outcome.warnings[0]?.lines).toEqual(warning.trimEnd().split('\n'));
  });

  it('fails on a warning when told to', async () => {
    expect(await watch(say(`${warning}READY\n`), { failOn: 'warning' })).toMatchObject({
      type: 'failed',
      report: { signature: 'kernel-warning' },
    });
  });

  it('takes a second boot banner for a silent reset', async () => {
    expect(await watch(say(`${banner}starting\r\n${banner}`))).toMatchObject({
      type: 'failed',
      report: { kind: 'reset', signature: 'reset-linux' },
    });
  });

  it('takes the banners of SPL, U-Boot and Linux in a row for one boot', async () => {
    const text = `U-Boot SPL 2023.01 (Jan 01 2023)\nU-Boot 2023.01 (Jan 01 2023)\n${banner}READY\n`;
    expect(await watch(say(text))).toMatchObject({ type: 'booted' });
  });

  it('tells a machine that never spoke from one that did not get there', async () => {
    expect(await watch(() => {})).toMatchObject({ type: 'silent', elapsedMs: limits.bootSilenceMs, bytes: 0 });
    expect(await watch(say(`${banner}hanging he`))).toMatchObject({
      type: 'timeout',
      lastLine: 'hanging he',
      elapsedMs: limits.bootTimeoutMs,
    });
  });

  it('says so when the console ends first, and prefers the report it was hearing', async () => {
    expect(await watch((boot) => (say('bye')(boot), boot.end()))).toMatchObject({ type: 'ended', lastLine: 'bye' });
    expect(await watch((boot) => (say('Kernel panic - not syncing: x')(boot), boot.end()))).toMatchObject({
      type: 'failed',
    });
  });

  it('counts its deadlines from the real start when it is resumed', async () => {
    const clock = fakeClock();
    const boot = new BootWatch({
      clock,
      success: ['READY'],
      timeoutMs: 1_000,
      silenceMs: 1_000,
      startedAt: clock.now() - 900,
    });
    await clock.advance(100);
    expect(await boot.outcome).toMatchObject({ type: 'silent', elapsedMs: 1_000 });
  });

  it('counts them from now when the start was written by a clock that is ahead', async () => {
    const clock = fakeClock();
    const boot = new BootWatch({ clock, success: ['READY'], timeoutMs: 1_000, startedAt: clock.now() + 3_600_000 });
    await clock.advance(1_000);
    expect(await boot.outcome).toMatchObject({ type: 'silent', elapsedMs: 1_000 });
  });

  it('rejects with aborted when it is aborted, and leaves no timer behind', async () => {
    const clock = fakeClock();
    const abort = new AbortController();
    const boot = new BootWatch({ clock, success: ['READY'], signal: abort.signal });
    abort.abort();
    await expect(boot.outcome).rejects.toMatchObject({ code: 'aborted' });
    expect(clock.pending).toEqual([]);
  });

  it('refuses to watch for nothing', () => {
    expect(() => new BootWatch({ success: [] })).toThrow(expect.objectContaining({ code: 'invalid-input' }));
    expect(() => new BootWatch({ success: [{ regex: '(' }] })).toThrow(
      expect.objectContaining({ code: 'invalid-input' }),
    );
  });

  it('gives the same outcome however the bytes are cut into pieces', async () => {
    const text = Buffer.from(`${banner}${warning}${panic}`);
    const whole = await watch((boot) => boot.feed(text));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(text.length), { maxLength: 8 }), async (cuts) => {
        const ends = [...cuts.toSorted((a, b) => a - b), text.length];
        const cut = await watch((boot) =>
          ends.forEach((end, index) => boot.feed(text.subarray(ends[index - 1] ?? 0, end))),
        );
        expect({ ...cut, bytes: 0 }).toEqual({ ...whole, bytes: 0 });
      }),
      { numRuns: 100 },
    );
  });
});

describe('watching the output of a console', () => {
  it('leaves the console at the outcome, though the console says no more', async () => {
    let left = false;
    async function* output(): AsyncGenerator<Uint8Array> {
      try {
        yield Buffer.from('READY\n');
        await new Promise(() => {});
      } finally {
        left = true;
      }
    }
    expect(await watchBoot(output(), { success: ['READY'], clock: fakeClock() })).toMatchObject({ type: 'booted' });
    expect(left).toBe(true);
  });

  it('passes on that the connection broke', async () => {
    async function* output(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('x');
      throw new Error('cable cut');
    }
    await expect(watchBoot(output(), { success: ['READY'], clock: fakeClock() })).rejects.toThrow('cable cut');
  });
});

describe('the error of a failed boot', () => {
  it('names the signature, the place and the message, and is JSON-safe', async () => {
    const error = bootError(await watch(say(`${banner}${panic}`)));
    expect(error).toMatchObject({ code: 'boot-failed', details: { signature: 'root-mount', offset: banner.length } });
    expect(JSON.parse(JSON.stringify(error)).message).toContain('Cannot open root device');
  });

  it('is none for a boot that succeeded', async () => {
    expect(bootError(await watch(say('READY\n')))).toBeUndefined();
  });
});

describe('failure signatures', () => {
  // Lines as kernels, boot loaders and firmware print them.
  const samples: readonly (readonly [string, string])[] = [
    ['init-killed', 'Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100'],
    ['init-missing', 'Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.'],
    ['root-mount', 'VFS: Unable to mount root fs on unknown-block(0,0)'],
    ['kernel-panic', 'Kernel panic - not syncing: Fatal exception in interrupt'],
    ['kasan', 'BUG: KASAN: slab-out-of-bounds in kmalloc_oob_right+0xa8/0xbc [test_kasan]'],
    ['kfence', 'BUG: KFENCE: out-of-bounds read in test_out_of_bounds_read+0xa6/0x234'],
    ['kcsan', 'BUG: KCSAN: data-race in test_kernel_read / test_kernel_write'],
    ['ubsan', 'UBSAN: shift-out-of-bounds in drivers/foo.c:12:3'],
    ['soft-lockup', 'watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [swapper/0:1]'],
    ['hard-lockup', 'NMI watchdog: Watchdog detected hard LOCKUP on cpu 1'],
    ['rcu-stall', 'rcu: INFO: rcu_preempt self-detected stall on CPU'],
    ['rcu-stall', 'rcu: INFO: rcu_sched detected stalls on CPUs/tasks:'],
    ['hung-task', 'INFO: task kworker/0:1:12 blocked for more than 120 seconds.'],
    ['kernel-page-fault', 'BUG: kernel NULL pointer dereference, address: 0000000000000000'],
    ['kernel-page-fault', 'BUG: unable to handle page fault for address: ffffffffc0000000'],
    ['unable-to-handle', 'Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010'],
    ['internal-error', 'Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP'],
    ['oops', 'Oops: 0002 [#1] PREEMPT SMP NOPTI'],
    ['oops', 'Oops [#1]'],
    ['cpu-exception', 'invalid opcode: 0000 [#1] SMP PTI'],
    ['cpu-exception', 'general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP'],
    ['kernel-bug', 'kernel BUG at mm/slub.c:379!'],
    ['atomic-sleep', 'BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580'],
    ['lockdep', 'WARNING: possible circular locking dependency detected'],
    ['kernel-warning', 'WARNING: CPU: 1 PID: 23 at kernel/sched/core.c:1 foo+0x1/0x2'],
    ['kernel-warning', 'WARNING: kernel/sched/core.c:1 at foo+0x1/0x2, CPU#1: swapper/1'],
    ['u-boot-reset-request', '### ERROR ### Please RESET the board ###'],
    ['u-boot-exception', '"Synchronous Abort" handler, esr 0x96000010'],
    ['u-boot-image', "ERROR: can't get kernel image!"],
    ['spl-boot-device', 'SPL: failed to boot from all boot devices'],
    ['no-bootable-device', 'No bootable device.'],
  ];

  it.each(samples)('%s is seen in: %s', async (id, line) => {
    const outcome = await watch((boot) => (say(`[   12.345678] ${line}\n`)(boot), boot.end()), { failOn: 'warning' });
    expect(outcome).toMatchObject({ type: 'failed', report: { signature: id, title: line } });
  });

  it.each([
    'traps: prog[12] general protection fault ip:401000 sp:7ffe0000 error:0 in prog[401000+1000]',
    'Debug: hardware bugs: none',
    'watchdog: watchdog0: watchdog did not stop!',
    'ext4: mounted filesystem without journal. Opts: errors=panic',
    'Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on',
  ])('none is seen in: %s', async (line) => {
    const outcome = await watch(say(`[   12.345678] ${line}\nREADY\n`), { failOn: 'warning' });
    expect(outcome).toMatchObject({ type: 'booted', warnings: [] });
  });

  it('have ids of their own', () => {
    expect(new Set(defaultSignatures.map((signature) => signature.id)).size).toBe(defaultSignatures.length);
  });

  it('can be dropped, replaced and added', async () => {
    const signatures = selectSignatures({
      drop: ['kernel-bug'],
      add: [{ id: 'smoke', kind: 'bug', severity: 'fatal', start: 'smoke' }],
    });
    expect(await watch(say('kernel BUG at x\nREADY\n'), { signatures })).toMatchObject({ type: 'booted' });
    expect(await watch(say('there is smoke\n'), { signatures })).toMatchObject({
      type: 'failed',
      report: { signature: 'smoke' },
    });
  });
});
