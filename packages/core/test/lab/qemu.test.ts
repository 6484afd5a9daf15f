import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Hypervisor, VmSpec } from '../../src/contracts/hypervisor.ts';
import type { ShellSession } from '../../src/contracts/shell.ts';
import { findEmulators } from '../../src/local/qemu-emulators.ts';
import { trialGuestRuns } from '../../src/local/qemu-kvm.ts';
import { localQemu } from '../../src/local/qemu.ts';
import { systemClock } from '../../src/runtime.ts';
import { ConsoleReader, fakeClock, tinyGuest, tinyGuestImage } from '../../src/testing/index.ts';

const noShell = {} as ShellSession;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

let scratch: string;
let workspace: string;
let hypervisor: Hypervisor;
let spec: VmSpec;

const connect = (options?: Parameters<typeof localQemu>[0]): Promise<Hypervisor> =>
  localQemu(options).connect({ host: { hostname: 'localhost', username: 'lab' }, workspace }, noShell);

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'qemu-'));
  workspace = join(scratch, 'vms');
  const kernel = join(scratch, 'kernel');
  await writeFile(kernel, tinyGuestImage());
  hypervisor = await connect();
  spec = {
    name: 'vm',
    architecture: 'x86_64',
    cpus: 1,
    memoryMb: 16,
    kernel,
    commandLine: 'x',
    tags: { id: 'r-1' },
    accelerator: 'tcg',
  };
});

afterEach(async () => {
  for (const { name } of await hypervisor.listVms()) await hypervisor.destroyVm(name);
  await hypervisor[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true, force: true });
});

async function run(more: Partial<VmSpec> = {}): Promise<ConsoleReader> {
  const { name } = await hypervisor.createVm({ ...spec, ...more });
  const reader = new ConsoleReader(await hypervisor.openConsole(name));
  await hypervisor.startVm(name);
  await reader.until('\r\n');
  return reader;
}

async function qemuPid(name = 'vm'): Promise<number> {
  return Number(await readFile(join(workspace, name, 'state', 'qemu.pid'), 'utf8'));
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/exe`);
}

/** Runs a module in another process until it prints `ready`, then kills that process. */
async function inAnotherProcess(body: string): Promise<void> {
  const url = new URL('../../src/local/qemu.ts', import.meta.url).href;
  const script = `import { localQemu } from ${JSON.stringify(url)};
    const hypervisor = await localQemu().connect({ host: { hostname: 'l', username: 'l' }, workspace: ${JSON.stringify(workspace)} }, {});
    const spec = ${JSON.stringify(spec)};
    ${body}
    console.log('ready'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => Promise.reject(new Error('the other process failed'))),
  ]);
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('a VM', () => {
  test('survives the kill of the process that made it, and its console goes on complete', async () => {
    await inAnotherProcess(`await hypervisor.createVm(spec); await hypervisor.startVm('vm');`);
    expect(await hypervisor.listVms()).toEqual([{ name: 'vm', state: 'running', tags: { id: 'r-1' } }]);
    const console = await hypervisor.openConsole('vm');
    const reader = new ConsoleReader(console);
    expect((await reader.until('\r\n')).startsWith(tinyGuest.greeting)).toBe(true);
    await console.write(encode('who is there?'));
    await reader.until('who is there?');
  });

  test('has a console that is free again when the process that held it is killed', async () => {
    await inAnotherProcess(`await hypervisor.createVm(spec); await hypervisor.openConsole('vm');`);
    await expect(hypervisor.openConsole('vm')).resolves.toBeDefined();
  });

  test('whose QEMU is killed has crashed: the console ends, an event says so, and destroying cleans up', async () => {
    const reader = await run();
    const events = hypervisor.events()[Symbol.asyncIterator]();
    const event = events.next();
    await hypervisor.listVms();
    process.kill(await qemuPid(), 'SIGKILL');
    await reader.ended;
    expect((await event).value).toEqual({ name: 'vm', type: 'crashed' });
    expect((await hypervisor.getVm('vm'))?.state).toBe('crashed');
    await hypervisor.destroyVm('vm');
    expect((await readdir(workspace)).filter((entry) => !entry.startsWith('.kvm'))).toEqual([]);
  });

  test('is gone with its process and all its files when it is destroyed', async () => {
    await run();
    const pid = await qemuPid();
    await hypervisor.destroyVm('vm');
    expect(isAlive(pid)).toBe(false);
    expect(await readdir(workspace)).toEqual([]);
  });

  test('that hangs so hard that QEMU does not listen is destroyed all the same', async () => {
    await run();
    const pid = await qemuPid();
    process.kill(pid, 'SIGSTOP');
    await hypervisor.destroyVm('vm');
    expect(isAlive(pid)).toBe(false);
  });

  test('whose QEMU listens to nobody, as one that hangs at its exit, is still listed, as what it last was', async () => {
    await run();
    await hypervisor.createVm({ ...spec, name: 'other' });
    for (const name of ['vm', 'other']) process.kill(await qemuPid(name), 'SIGSTOP');
    const states = (await hypervisor.listVms()).map(({ name, state }) => `${name} ${state}`);
    expect(states.toSorted()).toEqual(['other paused', 'vm running']);
  });

  test('half created, without a pid on record, is found by its id and destroyed', async () => {
    await hypervisor.createVm(spec);
    const pid = await qemuPid();
    await rm(join(workspace, 'vm', 'state'), { recursive: true });
    expect((await hypervisor.getVm('vm'))?.state).toBe('stopped');
    await hypervisor.destroyVm('vm');
    expect(isAlive(pid)).toBe(false);
  });

  test('of whose pid another process has taken over is not mistaken for it, and that process is spared', async () => {
    const reader = await run();
    await hypervisor.destroyVm('vm');
    await reader.ended;
    await run();
    const real = await qemuPid();
    await writeFile(join(workspace, 'vm', 'state', 'qemu.pid'), `${process.pid}\n`);
    expect((await hypervisor.getVm('vm'))?.state).toBe('crashed');
    await hypervisor.destroyVm('vm');
    expect(isAlive(real)).toBe(false);
  });

  test('lives in a workspace whose path is far longer than a socket’s may be', async () => {
    workspace = join(scratch, ...Array.from({ length: 8 }, () => 'a-long-folder-name, with a comma'));
    await mkdir(workspace, { recursive: true });
    await hypervisor[Symbol.asyncDispose]();
    hypervisor = await connect();
    const reader = await run();
    expect((await hypervisor.getVm('vm'))?.state).toBe('running');
    expect(reader.text.endsWith('x\r\n')).toBe(true);
  });

  test('has its root file system on a disk that it can’t write to for good', async () => {
    const path = join(scratch, 'root, fs.img');
    await writeFile(path, Buffer.alloc(1024 * 1024, 7));
    await run({ rootfs: { path, format: 'raw' } });
    const commandLine = (await readFile(`/proc/${await qemuPid()}/cmdline`, 'utf8')).split('\0');
    expect(commandLine.find((word) => word.startsWith('id=rootfs'))).toContain('snapshot=on');
  });

  test('with a device that QEMU refuses fails with QEMU’s own words and leaves nothing', async () => {
    const error = await hypervisor.createVm({ ...spec, machine: 'no-such-machine' }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'hypervisor-failed',
      message: expect.stringContaining('unsupported machine type'),
    });
    expect(await readdir(workspace)).toEqual([]);
  });

  test('whose creation takes too long is taken back', async () => {
    const clock = fakeClock();
    await using hurried = await connect({ clock });
    const creating = hurried.createVm(spec, { timeoutMs: 1 });
    await expect(clock.runUntil(creating)).rejects.toHaveProperty('code', 'deadline-exceeded');
    expect(await readdir(workspace)).toEqual([]);
  });
});

describe('a console', () => {
  test('keeps every byte once when nobody reads it, and when somebody reads slowly', async () => {
    const { name } = await hypervisor.createVm(spec);
    const console = await hypervisor.openConsole(name);
    await hypervisor.startVm(name);
    const sent = Array.from({ length: 4000 }, (_, index) => `${index};`).join('');
    // More than the FIFO and the guest's own buffers hold: the writer waits for the guest.
    await console.write(encode(`\n${sent.repeat(4)}end`));
    const reader = new ConsoleReader(console);
    const said = await reader.until('end');
    expect(said.slice(said.indexOf('\n', said.indexOf('\n') + 1) + 1)).toBe(`${sent.repeat(4)}end`);
  });

  test('write is given up with its signal when the guest takes nothing', async () => {
    const { name } = await hypervisor.createVm(spec);
    const console = await hypervisor.openConsole(name);
    const controller = new AbortController();
    const writing = console.write(Buffer.alloc(256 * 1024), { signal: controller.signal });
    controller.abort();
    await expect(writing).rejects.toHaveProperty('code', 'aborted');
    await console[Symbol.asyncDispose]();
  });
});

describe('KVM', () => {
  test('the trial guest proves an accelerator that runs guests', async () => {
    expect(await trialGuestRuns('qemu-system-x86_64', 'tcg', systemClock)).toBe(true);
  });

  test('the trial proves nothing when the emulator does not run', async () => {
    expect(await trialGuestRuns('/bin/false', 'tcg', systemClock)).toBe(false);
    expect(await trialGuestRuns('/bin/cat', 'tcg', systemClock)).toBe(false);
    expect(await trialGuestRuns('/nonexistent/qemu', 'tcg', systemClock)).toBe(false);
  });

  test('auto boots a guest whether or not KVM is proven, and the verdict is kept for this boot of the machine', async () => {
    const { kvm } = await hypervisor.capabilities();
    await run({ accelerator: 'auto' });
    const commandLine = (await readFile(`/proc/${await qemuPid()}/cmdline`, 'utf8')).split('\0');
    expect(commandLine[commandLine.indexOf('-accel') + 1]).toBe(kvm ? 'kvm' : 'tcg');
    if (!existsSync('/dev/kvm')) return;
    const verdict = JSON.parse(await readFile(join(workspace, '.kvm-proof.json'), 'utf8')) as object;
    expect(verdict).toMatchObject({
      proven: kvm,
      bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
    });
  });

  test('a verdict of this boot is believed without another trial, one of another boot is not', async () => {
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const emulator = (await findEmulators(process.env['PATH'] ?? '')).get('x86_64');
    const { kvm } = await hypervisor.capabilities();
    const believe = async (boot: string): Promise<boolean> => {
      const verdict = { bootId: boot, emulator, proven: !kvm, atMs: Date.now() };
      await writeFile(join(workspace, '.kvm-proof.json'), JSON.stringify(verdict));
      await using fresh = await connect();
      return (await fresh.capabilities()).kvm;
    };
    if (!existsSync('/dev/kvm')) return;
    expect(await believe(bootId)).toBe(!kvm);
    expect(await believe('another-boot')).toBe(kvm);
  });
});

describe('a missing emulator', () => {
  test('is a missing dependency that names Debian’s package', async () => {
    const onlyX86 = join(scratch, 'bin');
    await mkdir(onlyX86);
    await symlink('/bin/true', join(onlyX86, 'qemu-system-x86_64'));
    await using limited = await connect({ path: onlyX86 });
    await expect(limited.createVm({ ...spec, architecture: 'riscv64' })).rejects.toMatchObject({
      code: 'dependency-missing',
      message: expect.stringContaining('apt-get install qemu-system-misc'),
    });
  });

  test('of every architecture fails the connection already', async () => {
    await expect(connect({ path: '/nonexistent' })).rejects.toMatchObject({
      code: 'dependency-missing',
      message: expect.stringContaining('qemu-system-x86'),
    });
  });
});
