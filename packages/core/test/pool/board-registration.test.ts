import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Secret, architectures, type BoardRegistration, type BringupError } from '@bringup/core';
import { memoryLab, type MemoryBoot } from '@bringup/core/testing';

/** A board that stands at U-Boot's prompt. */
const inUBoot: MemoryBoot = async (guest) => {
  guest.say('U-Boot 2023.01\r\n=> ');
  for await (const chunk of guest.input()) {
    if (Buffer.from(chunk).includes('\n')) guest.say('\r\n=> ');
  }
};

/** A board that asks for a user and lets nobody in. */
const lockedUp: MemoryBoot = async (guest) => {
  for await (const _chunk of guest.input()) guest.say('\r\nboard login: ');
};

describe('registering a board', () => {
  it('R8.1, R8.2, R8.3, P12: puts it into the pool with what it was found to be, by SSH as by its console alone', () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          architecture: fc.constantFrom(...architectures),
          cpuCores: fc.integer({ min: 1, max: 16 }),
          memoryMb: fc.integer({ min: 64, max: 8192 }),
          kernelVersion: fc.constantFrom('5.10.0', '6.6.1-yocto'),
          serialNumber: fc.constantFrom('0001', 'SN-42'),
          peripherals: fc.uniqueArray(fc.constantFrom('can', 'i2c', 'spi', 'wifi', 'usb:0403:6001'), { minLength: 1 }),
        }),
        fc.constantFrom('shell', 'console'),
        async (machine, without) => {
          await using lab = await memoryLab();
          const adding = lab.addBoard({
            machine,
            without: [without],
            boardType: 'imx8',
            ...(without === 'shell' && { consoleLogin: { user: 'root' } }),
          });
          const board = await lab.clock.runUntil(adding);
          expect(board).toMatchObject({
            name: 'board1',
            boardType: 'imx8',
            status: 'available',
            architecture: machine.architecture,
            kernelVersion: machine.kernelVersion,
            serialNumber: machine.serialNumber,
            peripherals: machine.peripherals.toSorted(),
            health: { connectivity: 'healthy', powerStatus: 'on' },
          });
          expect(board.hostname).toBe(without === 'shell' ? undefined : 'board1');
          expect(board.serialDevice).toBe(without === 'console' ? undefined : '/dev/serial/board1');
          expect(await lab.boards.getBoardStatus(board.id)).toEqual(board);
        },
      ),
      { numRuns: 100 },
    ));

  it('R8.3: keeps the peripherals that were stated beside those that were found', async () => {
    await using lab = await memoryLab();
    const board = await lab.addBoard({ machine: { peripherals: ['i2c'] }, peripherals: ['lcd', 'i2c'] });
    expect(board.peripherals).toEqual(['lcd', 'i2c']);
  });

  it('fails when it is not what it was said to be', async () => {
    await using lab = await memoryLab();
    await expect(lab.addBoard({ machine: { architecture: 'armv7' }, architecture: 'arm64' })).rejects.toMatchObject({
      code: 'architecture-mismatch',
      details: { claimed: 'arm64', detected: 'armv7' },
    });
    expect(await lab.boards.getAllBoards()).toEqual([]);
  });

  it.each([
    ["U-Boot's prompt", inUBoot],
    ['a login that nobody was named for', lockedUp],
  ])(
    'R8.2: takes %s on the console for an answer, and then wants the architecture to be stated',
    async (_what, guest) => {
      await using lab = await memoryLab();
      const options = { name: 'uboot', guest, without: ['shell' as const] };
      await lab.addBoard({ name: 'uboot', guest });
      lab.board('uboot').powerGlitch();
      await lab.boards.decommissionBoard((await lab.boards.findBoard('uboot'))?.id ?? '');
      const silent = lab.addBoard(options).catch((error: unknown) => error);
      expect(await lab.clock.runUntil(silent)).toMatchObject({
        code: 'invalid-input',
        details: { issues: [{ path: 'architecture' }] },
      });
      const board = await lab.clock.runUntil(lab.addBoard({ ...options, architecture: 'arm64' }));
      expect(board).toMatchObject({ architecture: 'arm64', status: 'available' });
    },
  );

  it('R8.2: fails when nobody answers on the console, and leaves nothing in the pool', async () => {
    await using lab = await memoryLab();
    const board = lab.addBoard({ without: ['shell'], architecture: 'arm64' });
    lab.board('board1').hang();
    const failed = await lab.clock.runUntil(board.catch((error: unknown) => error));
    expect(failed).toMatchObject({ code: 'connection-failed' });
    expect(await lab.boards.getAllBoards()).toEqual([]);
  });

  it('R8.2: is not taken in by a board that speaks and does not hear', async () => {
    await using lab = await memoryLab();
    const deaf: MemoryBoot = async function* (guest) {
      for (;;) {
        await guest.sleep(700);
        yield '[    1.000000] random: crng init done\r\n';
      }
    };
    await lab.addBoard({ name: 'deaf', guest: deaf, architecture: 'x86_64' });
    lab.board('deaf').powerGlitch();
    await lab.boards.decommissionBoard((await lab.boards.findBoard('deaf'))?.id ?? '');
    const adding = lab.addBoard({ name: 'deaf', without: ['shell'], architecture: 'x86_64' });
    expect(await lab.clock.runUntil(adding.catch((error: unknown) => error))).toMatchObject({
      code: 'connection-failed',
    });
  });

  it('E-ssh-auth: a console that refuses the login fails the registration and tells an administrator', async () => {
    await using lab = await memoryLab();
    await lab.addBoard({ name: 'locked', guest: lockedUp });
    lab.board('locked').powerGlitch();
    await lab.boards.decommissionBoard((await lab.boards.findBoard('locked'))?.id ?? '');
    const login = { user: 'root', password: new Secret('hunter2') };
    const adding = lab.addBoard({ name: 'locked', without: ['shell'], consoleLogin: login });
    const failed = await lab.clock.runUntil(adding.catch((error: unknown) => error));
    expect(failed).toMatchObject({ code: 'authentication-failed' });
    const names = [];
    for await (const event of lab.events.read()) names.push(event.name);
    expect(names).toContain('alert:raised');
  });

  it.each([
    ['usb_hub', { usbHubPort: 'board1' }],
    ['network_pdu', { pduAddress: 'pdu1', pduOutlet: 'board1' }],
    ['gpio_relay', { gpioPin: 'board1' }],
    ['manual', {}],
  ] as const)('R8.4: can be powered by %s, which must answer', async (method, fields) => {
    await using lab = await memoryLab();
    const board = await lab.addBoard({ powerControl: { method, ...fields } });
    expect(board.powerControl).toEqual({ method, ...fields, ...(method !== 'manual' && { power: 'memory' }) });
    expect(board.health.powerStatus).toBe(method === 'manual' ? 'unknown' : 'on');
    lab.board('board1').outlet.unreachable = true;
    await lab.boards.decommissionBoard(board.id);
    const again = lab.addBoard({ name: 'board1', powerControl: { method, ...fields } });
    if (method === 'manual') await again;
    else await expect(again).rejects.toMatchObject({ code: 'connection-failed' });
  });

  it('R8.5: has a flash station, which must be there', async () => {
    await using lab = await memoryLab();
    expect(await lab.addBoard()).toMatchObject({ flashStationId: 'station-board1', flash: 'memory' });
    await expect(lab.addBoard({ flashStationId: 'nowhere' })).rejects.toMatchObject({ code: 'not-found' });
    expect(await lab.boards.findBoard('board2')).toBeUndefined();
  });

  it('must have a console where one is named, though its shell answers', async () => {
    await using lab = await memoryLab();
    await expect(lab.addBoard({ serialDevice: '/dev/none' })).rejects.toMatchObject({ code: 'not-found' });
    lab.serialConsoles.unreachable.add('/dev/serial/board1');
    await expect(lab.addBoard({ name: 'board1' })).rejects.toMatchObject({ code: 'connection-failed' });
    expect(await lab.boards.getAllBoards()).toEqual([]);
  });

  it.each<[string, Partial<BoardRegistration> & object, string[]]>([
    ['nothing to reach it by', {}, ['hostname']],
    [
      'fields of a shell and of a console without one',
      { sshPort: 22, ipAddress: '192.0.2.1', serialBaudRate: 9600, consoleLogin: {} },
      ['hostname', 'ipAddress', 'sshPort', 'serialBaudRate', 'consoleLogin'],
    ],
    [
      'an outlet of which half is missing',
      { hostname: 'b', powerControl: { method: 'network_pdu', pduOutlet: '1' } },
      ['powerControl.pduAddress'],
    ],
    [
      'the fields of another method',
      { hostname: 'b', powerControl: { method: 'usb_hub', gpioPin: 'gpiochip0:1' } },
      ['powerControl.usbHubPort', 'powerControl.gpioPin'],
    ],
    [
      'fields that are wrong by themselves and rules that are broken, all at once',
      { hostname: '-', sshPort: 0, boardType: '', flash: 'x', powerControl: { method: 'manual', pduOutlet: '1' } },
      ['hostname', 'sshPort', 'boardType', 'flash', 'powerControl.pduOutlet'],
    ],
  ])('E-invalid: names one issue for each field: %s', async (_what, fields, paths) => {
    await using lab = await memoryLab();
    const failed = await lab.boards
      .registerBoard({ name: 'b', boardType: 'imx8', ...fields })
      .catch((error: unknown) => error as BringupError);
    expect(failed).toMatchObject({ code: 'invalid-input' });
    const issues = (failed as BringupError).details['issues'] as { path: string }[];
    expect(issues.map(({ path }) => path).toSorted()).toEqual(paths.toSorted());
  });

  it('does not keep the password of its console', async () => {
    await using lab = await memoryLab();
    const login = { user: 'root', password: new Secret('hunter2') };
    const board = await lab.clock.runUntil(lab.addBoard({ without: ['shell'], consoleLogin: login }));
    await lab.boards.updateBoard(board.id, { labels: { rack: 'a' } });
    const kept = [];
    for await (const event of lab.events.read()) kept.push(JSON.stringify(event));
    expect(JSON.stringify([kept, await lab.boards.getBoardStatus(board.id)])).not.toContain('hunter2');
  });
});
