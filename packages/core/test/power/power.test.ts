import { describe, expect, it } from 'vitest';
import { limits, type Board, type PowerEvent } from '@bringup/core';
import { memoryLab, type MemoryBoardOptions, type MemoryLab } from '@bringup/core/testing';

async function labWith(options: MemoryBoardOptions = {}): Promise<{ lab: MemoryLab; board: Board }> {
  const lab = await memoryLab();
  return { lab, board: await lab.addBoard({ powerSequence: { offMs: 2_000, recoveryMs: 30_000 }, ...options }) };
}

const cycle = (lab: MemoryLab, id: string, options = {}): Promise<PowerEvent> =>
  lab.clock.runUntil(lab.boards.powerCycleBoard(id, options));

const interventions = (lab: MemoryLab) =>
  lab.alerts.list({ type: 'manual-intervention', state: ['open', 'acknowledged'] });

describe('the power of a board', () => {
  it('R18.2: a cycle is off, the configured delay, on; then the board is watched until it answers', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    const machine = lab.board(board.name);
    const event = await cycle(lab, board.id, { by: 'ada', reason: 'it smells' });
    expect(event).toMatchObject({
      state: 'succeeded',
      result: 'answered',
      action: 'cycle',
      trigger: 'request',
      by: 'ada',
      reason: 'it smells',
      cycles: 1,
    });
    const { offAt = 0, onAt = 0, answeredAt = 0 } = event;
    expect(onAt - offAt).toBeGreaterThanOrEqual(2_000);
    expect(answeredAt - onAt).toBeGreaterThanOrEqual(machine.shellAfterMs);
    expect(machine.boots).toBe(2);
    expect((await lab.boards.getBoardStatus(board.id)).status).toBe('available');
  });

  it('R18.2: a board is in recovery until it answers, and nothing is allocated to it', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    const going = lab.boards.powerCycleBoard(board.id);
    await lab.clock.advance(4_000);
    expect(await lab.boards.getBoardStatus(board.id)).toMatchObject({
      status: 'recovery',
      statusReason: 'its power is cycled by user: on request',
    });
    expect((await lab.power.getPowerStatus(board.id)).underWay).toMatchObject({ action: 'cycle', state: 'pending' });
    await lab.clock.runUntil(going);
  });

  it('R18.5: the configuration and the history are readable, newest first', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    await lab.clock.runUntil(lab.power.powerOff(board.id, { by: 'bob', reason: 'the weekend' }));
    await lab.clock.runUntil(lab.power.powerOn(board.id, { by: 'ada' }));
    expect(await lab.power.getPowerStatus(board.id)).toEqual({
      boardId: board.id,
      control: { method: 'network_pdu', power: 'memory', pduAddress: 'pdu1', pduOutlet: board.name },
      sequence: { beforeOffMs: 0, offMs: 2_000, afterOnMs: 0, recoveryMs: 30_000 },
      state: 'on',
    });
    const history = await lab.power.getPowerHistory(board.id);
    expect(history.map(({ action, by, result }) => [action, by, result])).toEqual([
      ['on', 'ada', 'answered'],
      ['off', 'bob', 'switched'],
    ]);
    const [, older] = history;
    expect(await lab.power.getPowerHistory(board.id, { before: history[0]?.id ?? '' })).toEqual([older]);
  });

  it.each([
    { method: 'usb_hub', usbHubPort: 'board1' },
    { method: 'network_pdu', pduAddress: 'pdu1', pduOutlet: 'board1' },
    { method: 'gpio_relay', gpioPin: 'board1' },
  ] as const)('R8.4, R18.1: is switched by $method', async (powerControl) => {
    const { lab, board } = await labWith({ powerControl });
    await using _lab = lab;
    await lab.clock.runUntil(lab.power.powerOff(board.id));
    expect(lab.board(board.name).outlet.actual).toBe('off');
  });

  it('stays off when it was switched off, without anybody trying to recover it', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    await lab.clock.runUntil(lab.power.powerOff(board.id));
    expect(await lab.boards.getBoardStatus(board.id)).toMatchObject({ status: 'offline', blockedBy: ['powered-off'] });
    await lab.clock.advance(600_000);
    expect(lab.board(board.name).outlet.actual).toBe('off');
    await lab.clock.runUntil(lab.power.powerOn(board.id));
    expect(await lab.boards.getBoardStatus(board.id)).toMatchObject({ status: 'available', blockedBy: [] });
  });

  it('a power that is switched by hand: a person is asked, and the board is free again once it was looked after', async () => {
    const { lab, board } = await labWith({ powerControl: { method: 'manual' } });
    await using _lab = lab;
    expect(await cycle(lab, board.id, { reason: 'it hangs' })).toMatchObject({ result: 'asked', cycles: 0 });
    const [alert] = await interventions(lab);
    expect(alert?.message).toBe(
      'board1: it hangs. Its power is switched by hand: switch it off, wait a moment and switch it on again.',
    );
    expect((await lab.boards.getBoardStatus(board.id)).blockedBy).toEqual(['manual-intervention']);
    await lab.power.clearIntervention(board.id, { by: 'ada' });
    expect((await lab.boards.getBoardStatus(board.id)).blockedBy).toEqual([]);
    expect(await lab.alerts.get(alert?.id ?? '')).toMatchObject({
      state: 'resolved',
      resolution: 'looked after by ada',
    });
  });

  it('an outlet that the board does not hang on is found out, since the board goes on running', async () => {
    const { lab } = await labWith();
    await using _lab = lab;
    const board = await lab.addBoard({
      powerControl: { method: 'network_pdu', pduAddress: 'pdu1', pduOutlet: 'board1' },
    });
    await expect(cycle(lab, board.id)).rejects.toMatchObject({
      code: 'power-failed',
      message: expect.stringContaining('yet the board went on running'),
    });
    expect((await interventions(lab))[0]?.subject).toBe(board.id);
  });
});

describe('power control that fails', () => {
  it('E-power, R18.4: the board needs manual intervention, an alert says so, and nothing is allocated to it', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    lab.board(board.name).outlet.stuck = true;
    await expect(cycle(lab, board.id)).rejects.toMatchObject({
      code: 'power-failed',
      details: { tries: limits.powerRetries + 1 },
    });
    expect((await lab.boards.getBoardStatus(board.id)).blockedBy).toEqual(['manual-intervention']);
    const [alert] = await interventions(lab);
    expect(alert).toMatchObject({ severity: 'critical', subject: board.id });
    expect(alert?.message).toContain('the power of board1 could not be switched off');
    expect(alert?.message).toContain('Look after the outlet');
    expect((await lab.power.getPowerHistory(board.id))[0]).toMatchObject({
      state: 'failed',
      error: { code: 'power-failed' },
    });
    expect((await lab.power.getPowerStatus(board.id)).intervention).toBe(alert?.message);
  });

  it('E-power: a later success ends the intervention', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    lab.board(board.name).outlet.unreachable = true;
    await expect(cycle(lab, board.id)).rejects.toHaveProperty('code', 'power-failed');
    lab.board(board.name).outlet.unreachable = false;
    await cycle(lab, board.id);
    expect(await interventions(lab)).toEqual([]);
    expect(await lab.boards.getBoardStatus(board.id)).toMatchObject({ status: 'available', blockedBy: [] });
  });

  it('an outlet that fails for a moment is tried again', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    const { outlet } = lab.board(board.name);
    outlet.unreachable = true;
    const going = lab.boards.powerCycleBoard(board.id);
    await lab.clock.advance(1_500);
    outlet.unreachable = false;
    expect(await lab.clock.runUntil(going)).toMatchObject({ result: 'answered' });
  });

  it('a board that stays without power because the outlet failed midway is offline', async () => {
    const { lab, board } = await labWith();
    await using _lab = lab;
    const { outlet } = lab.board(board.name);
    const going = lab.boards.powerCycleBoard(board.id);
    while (outlet.actual === 'on') await lab.clock.advance(100);
    outlet.stuck = true;
    await expect(lab.clock.runUntil(going)).rejects.toHaveProperty('code', 'power-failed');
    expect((await lab.boards.getBoardStatus(board.id)).status).toBe('offline');
  });
});
