import { describe, expect, test } from 'vitest';
import type { Hypervisor, VmSpec } from '../../src/contracts/hypervisor.ts';
import type { ShellSession } from '../../src/contracts/shell.ts';
import { BringupError } from '../../src/errors.ts';
import {
  ConsoleReader,
  fakeClock,
  memoryGuests,
  memoryHypervisor,
  type MemoryHypervisorConnector,
  type MemoryHypervisorOptions,
} from '../../src/testing/index.ts';

const target = { host: { hostname: 'vmhost', username: 'lab' }, workspace: '/srv/bringup' };
const spec: VmSpec = {
  name: 'vm-1',
  architecture: 'x86_64',
  cpus: 1,
  memoryMb: 128,
  kernel: '/srv/kernel',
  commandLine: 'console=ttyS0',
  tags: {},
};

async function booted(
  options: MemoryHypervisorOptions,
): Promise<{ connector: MemoryHypervisorConnector; hypervisor: Hypervisor; reader: ConsoleReader }> {
  const connector = memoryHypervisor({ fileExists: () => true, ...options });
  const hypervisor = await connector.connect(target, {} as ShellSession);
  await hypervisor.createVm(spec);
  const reader = new ConsoleReader(await hypervisor.openConsole(spec.name));
  await hypervisor.startVm(spec.name);
  return { connector, hypervisor, reader };
}

describe('a scripted guest', () => {
  test('lets time pass on the injected clock and answers what it is told', async () => {
    const clock = fakeClock();
    const { hypervisor, reader } = await booted({
      clock,
      boot: async (guest) => {
        guest.say('booting\r\n');
        await guest.sleep(90_000);
        guest.say('login: ');
        for await (const chunk of guest.input()) guest.say(`hello ${Buffer.from(chunk).toString()}`);
      },
    });
    await reader.until('booting');
    await clock.advance(89_999);
    expect(reader.text).toBe('booting\r\n');
    await clock.advance(1);
    await reader.until('login: ');
    await hypervisor.destroyVm(spec.name);
    await reader.ended;
  });

  test('can be a plain list of what it prints, after which it has stopped', async () => {
    const { hypervisor, reader } = await booted({
      boot: async function* () {
        yield 'one\n';
        yield Uint8Array.of(0xff, 0x0a);
      },
    });
    await reader.ended;
    expect(reader.bytes).toEqual(Buffer.from([...Buffer.from('one\n'), 0xff, 0x0a]));
    expect((await hypervisor.getVm(spec.name))?.state).toBe('stopped');
  });

  test('that throws has crashed', async () => {
    const { hypervisor, reader } = await booted({ boot: () => Promise.reject(new Error('bus error')) });
    await reader.ended;
    expect((await hypervisor.getVm(spec.name))?.state).toBe('crashed');
  });

  test('that panics says so and hangs', async () => {
    const { hypervisor, reader } = await booted({ boot: memoryGuests.panics });
    await reader.until('end Kernel panic');
    expect((await hypervisor.getVm(spec.name))?.state).toBe('running');
  });

  test('that is silent runs and says nothing', async () => {
    const { connector, hypervisor } = await booted({ boot: memoryGuests.silent });
    expect((await hypervisor.getVm(spec.name))?.state).toBe('running');
    expect(connector.host('vmhost').said(spec.name)).toBe('');
  });
});

describe('faults', () => {
  test('a call that is told to fail fails once, with that error', async () => {
    const { connector, hypervisor } = await booted({});
    connector.failNext('createVm', new BringupError('hypervisor-failed', 'no memory'));
    await expect(hypervisor.createVm({ ...spec, name: 'vm-2' })).rejects.toThrow('no memory');
    expect(await hypervisor.getVm('vm-2')).toBeUndefined();
    await hypervisor.createVm({ ...spec, name: 'vm-2' });
  });

  test('a disconnect fails calls, consoles and events, and the VM goes on', async () => {
    const { connector, hypervisor, reader } = await booted({});
    await reader.until('\r\n');
    const events = hypervisor.events()[Symbol.asyncIterator]().next();
    await connector.disconnect('vmhost');
    await expect(hypervisor.listVms()).rejects.toHaveProperty('code', 'connection-lost');
    await expect(reader.ended).rejects.toHaveProperty('code', 'connection-lost');
    await expect(events).rejects.toHaveProperty('code', 'connection-lost');
    expect(await hypervisor.closed).toHaveProperty('code', 'connection-lost');
    const again = await connector.connect(target, {} as ShellSession);
    const resumed = await again.openConsole(spec.name, { offset: reader.bytes.length });
    await resumed.write(Buffer.from('still there'));
    await new ConsoleReader(resumed).until('still there');
  });

  test('a crash of the emulator ends the console and is told', async () => {
    const { connector, hypervisor, reader } = await booted({});
    const event = hypervisor.events()[Symbol.asyncIterator]().next();
    connector.host('vmhost').crash(spec.name);
    await reader.ended;
    expect((await event).value).toEqual({ name: spec.name, type: 'crashed' });
  });

  test('without being told which files exist, it asks the host’s shell', async () => {
    const asked: (readonly string[])[] = [];
    const shell = {
      exec: async (argv: readonly string[]) => {
        asked.push(argv);
        return { exitCode: 1, signal: null, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
      },
    } as unknown as ShellSession;
    const hypervisor = await memoryHypervisor().connect(target, shell);
    await expect(hypervisor.createVm(spec)).rejects.toHaveProperty('code', 'hypervisor-failed');
    expect(asked).toEqual([['test', '-f', '/srv/kernel']]);
  });
});
