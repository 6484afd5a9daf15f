import { describe, expect, it } from 'vitest';
import { ConsoleSession, ConsoleShell, type FlashTarget } from '@bringup/core';
import { memoryGuests, memoryLab, type MemoryLab } from '@bringup/core/testing';

const consoleOf = (lab: MemoryLab, name: string) =>
  lab.serialConsoles.open({ name, device: `/dev/serial/${name}`, baudRate: 115_200 });

const target: FlashTarget = {
  stationId: 'station-board1',
  board: { id: 'b', name: 'board1', boardType: 'evaluation', architecture: 'x86_64' },
};

const image = (bytes: Buffer): { sizeBytes: number; read: () => AsyncGenerator<Uint8Array> } => ({
  sizeBytes: bytes.length,
  async *read() {
    yield bytes;
  },
});

const said = async (lab: MemoryLab): Promise<string> => {
  await lab.clock.advance(0);
  return lab.board('board1').line.said.toString();
};

describe('a board in memory', () => {
  it('is registered with a console, an outlet, a flash station and a shell, unless it is without', async () => {
    await using lab = await memoryLab();
    expect(await lab.addBoard()).toMatchObject({
      name: 'board1',
      hostname: 'board1',
      serialDevice: '/dev/serial/board1',
      powerControl: { method: 'network_pdu', pduOutlet: 'board1' },
      flashStationId: 'station-board1',
    });
    const plain = await lab.addBoard({ without: ['console', 'power', 'flash'] });
    expect(plain).toMatchObject({ name: 'board2', powerControl: { method: 'manual' } });
    expect(plain).not.toHaveProperty('serialDevice');
    expect(plain).not.toHaveProperty('flashStationId');
  });

  it('boots its guest when the power comes, and answers on its shell a while later with a new boot id', async () => {
    await using lab = await memoryLab();
    await lab.addBoard();
    const board = lab.board('board1');
    const bootId = async (): Promise<string> => {
      await using session = await lab.shell.connect({ hostname: 'board1', username: 'root' });
      return (await session.exec(['cat', '/proc/sys/kernel/random/boot_id'])).stdout.toString();
    };
    const before = await bootId();
    await board.outlet.off();
    await expect(bootId()).rejects.toHaveProperty('code', 'connection-failed');
    const quiet = await said(lab);
    await board.outlet.on();
    expect((await said(lab)).slice(quiet.length)).toContain('Linux version');
    await expect(bootId()).rejects.toHaveProperty('code', 'connection-failed');
    await lab.clock.advance(board.shellAfterMs);
    expect(await bootId()).not.toBe(before);
  });

  it('gives a shell on its console that runs commands on the board', async () => {
    await using lab = await memoryLab();
    await lab.addBoard();
    lab.shell.host('board1').fs.writeFile('/tmp/motd', 'two\nlines');
    await lab.board('board1').outlet.off();
    await using console = await consoleOf(lab, 'board1');
    await lab.board('board1').outlet.on();
    await using session = new ConsoleSession({ console, clock: lab.clock });
    const shell = await lab.clock.runUntil(ConsoleShell.open({ session, clock: lab.clock }));
    const run = (...argv: string[]) => lab.clock.runUntil(shell.run(argv));
    expect(await run('cat', '/tmp/motd')).toMatchObject({ exitCode: 0, output: 'two\nlines' });
    expect(await run('echo', "it's; $? fine\nreally")).toMatchObject({
      exitCode: 0,
      output: "it's; $? fine\nreally\n",
    });
    expect(await run('no-such-command')).toMatchObject({ exitCode: 127 });
    expect(await run('true')).toMatchObject({ exitCode: 0, output: '' });
  });

  it('panics from an image that was damaged or cut off, until it is flashed again', async () => {
    await using lab = await memoryLab();
    await lab.addBoard();
    const board = lab.board('board1');
    const bootsTo = async (): Promise<string> => {
      const before = board.line.saidBytes;
      board.powerGlitch();
      return (await said(lab)).slice(before);
    };
    await using station = await lab.flashStations.open(target);
    board.flash.corruptNext();
    await expect(station.flash({ slot: 'kernel', bytes: image(Buffer.from('image')) })).rejects.toHaveProperty(
      'code',
      'checksum-mismatch',
    );
    expect(await bootsTo()).toContain('Kernel panic');
    board.flash.cutNextAfter(2);
    await expect(station.flash({ slot: 'kernel', bytes: image(Buffer.from('image')) })).rejects.toHaveProperty(
      'code',
      'connection-lost',
    );
    expect(await bootsTo()).toContain('Kernel panic');
    await station.flash({ slot: 'kernel', bytes: image(Buffer.from('image')) });
    expect(await bootsTo()).toContain('login:');
  });

  it('that hangs says and answers nothing until its power is cycled', async () => {
    await using lab = await memoryLab({
      boardGuest: async (guest) => {
        for (;;) {
          guest.say('tick\r\n');
          await guest.sleep(1_000);
        }
      },
    });
    await lab.addBoard();
    const board = lab.board('board1');
    board.powerGlitch();
    await lab.clock.advance(2_500);
    expect(board.line.said.toString()).toContain('tick\r\ntick\r\ntick');
    board.hang();
    const before = board.line.saidBytes;
    await lab.clock.advance(10_000);
    expect(board.line.saidBytes).toBe(before);
    await expect(lab.shell.connect({ hostname: 'board1', username: 'root' })).rejects.toHaveProperty(
      'code',
      'connection-failed',
    );
    await board.outlet.off();
    await board.outlet.on();
    await lab.clock.advance(10_000);
    expect(board.line.saidBytes).toBeGreaterThan(before);
    await using _session = await lab.shell.connect({ hostname: 'board1', username: 'root' });
  });

  it('what a dead process was flashing stays half-written', async () => {
    await using lab = await memoryLab();
    await lab.addBoard();
    const { flash } = lab.board('board1');
    flash.bytesPerSecond = 1;
    const station = await lab.flashStations.open(target);
    const flashing = station.flash({ slot: 'kernel', bytes: image(Buffer.from('image')) });
    await lab.clock.advance(1_000);
    await station[Symbol.asyncDispose]();
    await expect(flashing).rejects.toHaveProperty('code', 'aborted');
    expect(flash.intact).toBe(false);
  });

  it('comes with its maker’s system, and boots the guest it was given when its power is cycled', async () => {
    await using lab = await memoryLab();
    await lab.addBoard({ guest: memoryGuests.passes });
    expect(await said(lab)).not.toContain('memory\r\n');
    lab.board('board1').powerGlitch();
    expect(await said(lab)).toContain('ok 2 memory');
  });
});
