import { limits, type ShellSession } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { describe, expect, test } from 'vitest';
import type { ConsoleLog } from '../src/console-log.ts';
import { openVmConsole } from '../src/console-open.ts';
import { VmConsole } from '../src/console.ts';
import { domainScreenshot } from '../src/control.ts';
import { Daemon } from '../src/daemon.ts';
import { packetStatus, packetType } from '../src/rpc/packet.ts';
import type { Packet } from '../src/rpc/packet.ts';
import { procedures } from '../src/rpc/procedures.ts';
import { virError } from '../src/rpc/remote-error.ts';
import { XdrWriter } from '../src/rpc/xdr.ts';
import { VmFolder } from '../src/vm-folder.ts';
import { FakeDaemon } from './fake-daemon.ts';

const clock = fakeClock();
const domain = { name: 'vm', uuid: Buffer.alloc(16), id: 1 };

/** A connection to a daemon in this process, which answers what `answer` says. */
async function connectTo(daemon: FakeDaemon, answer: (call: Packet) => Uint8Array | undefined): Promise<Daemon> {
  daemon.serve((call) => (call.procedure === procedures.authList ? new XdrWriter().u32(0).bytes() : answer(call)));
  return Daemon.open(daemon.client, {
    clock,
    peer: 'libvirt on testhost',
    uri: 'qemu:///system',
    keepalive: false,
    account: undefined,
    confidential: true,
  });
}

/** A console with a live line to a daemon in this process, and a log that holds what was said. */
async function openConsole(now: () => 'same' | 'another' | 'ended', said = 'hello') {
  const daemon = new FakeDaemon();
  let opening: Packet | undefined;
  const line = await connectTo(daemon, (call) => {
    if (call.procedure === procedures.domainOpenConsole) opening = call;
    return new Uint8Array();
  });
  const stream = await line.openConsole(domain, {});
  if (opening === undefined) throw new Error('The console was not opened.');
  const log: Pick<ConsoleLog, 'read'> = {
    read: async (offset) => ({ outcome: 'read', bytes: Buffer.from(said).subarray(offset) }),
  };
  const console = new VmConsole({
    name: 'vm',
    clock,
    log: log as ConsoleLog,
    line: { daemon: line, stream },
    live: true,
    offset: 0,
    first: new Uint8Array(),
    now: async () => now(),
    onDispose: () => {},
  });
  return { daemon, call: opening, console };
}

async function text(output: AsyncIterable<Uint8Array>): Promise<string> {
  let all = '';
  for await (const chunk of output) all += Buffer.from(chunk).toString('latin1');
  return all;
}

describe('a console whose line breaks off', () => {
  test.for(['with an error', 'without one'] as const)(
    '%s while its VM goes on was taken by somebody: that is what reader and writer hear',
    async (how) => {
      const { daemon, call, console } = await openConsole(() => 'same');
      daemon.stream(call, packetStatus.continue, 'hel');
      const reading = text(console.output);
      const told = { code: 'console-busy', retryable: true, details: { name: 'vm', reason: 'taken-over' } };
      if (how === 'with an error')
        daemon.refuse(call, virError.systemError, 'stream had unexpected termination', packetType.stream);
      else daemon.stream(call, packetStatus.continue);
      await expect(clock.runUntil(reading)).rejects.toMatchObject(told);
      await expect(clock.runUntil(console.write(Buffer.from('x')))).rejects.toMatchObject(told);
      daemon.close();
      await console[Symbol.asyncDispose]();
    },
  );

  test('because its VM was put back to a snapshot says so', async () => {
    const { daemon, call, console } = await openConsole(() => 'another');
    const reading = text(console.output);
    daemon.refuse(call, virError.systemError, 'stream had unexpected termination', packetType.stream);
    await expect(clock.runUntil(reading)).rejects.toMatchObject({
      code: 'connection-lost',
      details: { reason: 'restarted' },
    });
    daemon.close();
  });

  test('a moment before libvirt knows that the VM has ended ends as the VM did, with its last bytes', async () => {
    let looks = 0;
    const { daemon, call, console } = await openConsole(() => ((looks += 1) < 4 ? 'same' : 'ended'));
    daemon.stream(call, packetStatus.continue, 'hel');
    const reading = text(console.output);
    daemon.refuse(call, virError.systemError, 'stream had unexpected termination', packetType.stream);
    expect(await clock.runUntil(reading)).toBe('hello');
    expect(looks).toBe(4);
    daemon.close();
  });

  test('together with its connection is lost', async () => {
    const { daemon, console } = await openConsole(() => 'same');
    const reading = text(console.output);
    daemon.close();
    await expect(clock.runUntil(reading)).rejects.toMatchObject({ code: 'connection-lost' });
  });
});

describe('a console whose pty can not be opened', () => {
  const running = 1;
  const shutOff = 5;
  const refusal = "Unable to open stream for '/dev/pts/0': Permission denied";

  /** Opens the console of a VM that is in one state after the other, and in the last from then on. */
  async function open(states: readonly number[]) {
    let looks = 0;
    const daemon = await connectTo(new FakeDaemon(), (call) => {
      if (call.procedure !== procedures.domainGetState) return new Uint8Array();
      const state = states[Math.min(looks, states.length - 1)] ?? shutOff;
      looks += 1;
      return new XdrWriter().i32(state).i32(0).bytes();
    });
    const lineEnd = new FakeDaemon();
    const line = await connectTo(lineEnd, (call) => {
      if (call.procedure !== procedures.domainOpenConsole) return new Uint8Array();
      lineEnd.refuse(call, virError.systemError, refusal);
      return undefined;
    });
    const exec: ShellSession['exec'] = async ([, , , , , offset]) => ({
      exitCode: 0,
      signal: null,
      stdout: Buffer.from('said').subarray(Number(offset)),
      stderr: Buffer.alloc(0),
      truncated: false,
    });
    const shell = { exec } as ShellSession;
    const console = openVmConsole(
      {
        daemon,
        shell,
        clock,
        domain,
        folder: new VmFolder(shell, '/vms', 'vm'),
        openLine: async () => line,
        unstarted: () => false,
      },
      { onDispose: () => {} },
    );
    return { console, looks: () => looks };
  }

  test('because its VM is just ending gives what the VM said', async () => {
    const { console, looks } = await open([running, running, running, shutOff]);
    await using opened = await clock.runUntil(console);
    expect(await clock.runUntil(text(opened.output))).toBe('said');
    expect(looks()).toBe(4);
  });

  test('of a VM that goes on says why', async () => {
    const { console } = await open([running]);
    await expect(clock.runUntil(console)).rejects.toMatchObject({
      code: 'hypervisor-failed',
      message: expect.stringContaining(refusal),
    });
  });
});

describe('a screenshot', () => {
  /** Takes one from a daemon that sends this picture. */
  async function take(mimeType: string | undefined, picture: string): Promise<string> {
    const openLine = (): Promise<Daemon> => {
      const daemon = new FakeDaemon();
      return connectTo(daemon, (call) => {
        if (call.procedure !== procedures.domainScreenshot) return new Uint8Array();
        setImmediate(() => {
          daemon.stream(call, packetStatus.continue, Buffer.from(picture, 'latin1'));
          daemon.stream(call, packetStatus.continue);
          daemon.stream(call, packetStatus.ok);
        });
        const writer = new XdrWriter();
        return writer.optional(mimeType, (type) => writer.string(type)).bytes();
      });
    };
    const { image } = await domainScreenshot(openLine, domain, {});
    return Buffer.from(image).toString('latin1');
  }

  test('limits.screenshotMaxBytes: a display of that size is shown, none that is larger', async () => {
    const before = limits.screenshotMaxBytes;
    Object.assign(limits, { screenshotMaxBytes: 1_000 });
    try {
      expect(await take(undefined, 'x'.repeat(1_000))).toHaveLength(1_000);
      await expect(take(undefined, 'x'.repeat(1_001))).rejects.toMatchObject({
        code: 'hypervisor-failed',
        retryable: false,
      });
    } finally {
      Object.assign(limits, { screenshotMaxBytes: before });
    }
  });

  const pixmap = `P6\n2 1\n255\nabcdef`;
  const png = '\u0089PNG\r\n\u001a\nIDAT\0\0\0\0IEND\u00aeB`\u0082';
  test.each([
    ['image/x-portable-pixmap', 'without its beginning', pixmap, pixmap.slice(3)],
    ['image/x-portable-pixmap', 'without its end', pixmap, pixmap.slice(0, -1)],
    ['image/png', 'without its beginning', png, png.slice(3)],
    ['image/png', 'without its end', png, png.slice(0, -1)],
    ['image/jpeg', 'with nothing in it', 'whatever', ''],
  ])('of %s that arrives %s is none', async (mimeType, _how, whole, damaged) => {
    expect(await take(mimeType, whole)).toBe(whole);
    await expect(take(mimeType, damaged)).rejects.toMatchObject({ code: 'hypervisor-failed', retryable: true });
  });
});
