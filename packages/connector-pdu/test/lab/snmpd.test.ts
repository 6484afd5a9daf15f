import { createLab, localShell, Secret } from '@bringup/core';
import { memoryArtifactStorage, powerContract } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { readOnly, v2c, v3, v3User } from '../../../../test/fixtures/snmp-users.ts';
import { SnmpdPdu } from '../../../../test/fixtures/snmpd.ts';
import { apc, pdu, type SnmpAccess } from '../../src/index.ts';

const config = { method: 'network_pdu', pduAddress: 'rack', pduOutlet: '4' } as const;

for (const snmp of [v2c, v3]) {
  powerContract({
    name: `snmpd, ${snmp.version}`,
    setup: async () => {
      const device = await SnmpdPdu.start();
      const access = { host: device.host, snmp, resendMs: 1_000 };
      const connector = pdu({ devices: { rack: apc(access) }, settleMs: 300 });
      return {
        outlet: await connector.open(config),
        tellsState: true,
        actual: async () => ((await device.isLive('4')) ? 'on' : 'off'),
        stick: () => device.stick(),
        disconnect: async () => {
          await device.stop();
          access.resendMs = 20;
        },
        dispose: async () => {
          await connector[Symbol.asyncDispose]();
          await device[Symbol.asyncDispose]();
        },
      };
    },
  });
}

describe('snmpd refuses', () => {
  it('what a community, a user and an outlet may not, each told apart', async () => {
    await using device = await SnmpdPdu.start();
    const ends = async (snmp: SnmpAccess['snmp'], outlet = '4', act: 'on' | 'state' = 'on'): Promise<unknown> => {
      await using connector = pdu({ devices: { rack: apc({ host: device.host, snmp, resendMs: 100 }) } });
      const opened = await connector.open({ ...config, pduOutlet: outlet });
      return await opened[act]().catch((error: unknown) => error);
    };
    const denied = { code: 'authentication-failed', retryable: false };
    const wrong = new Secret('wrong-passphrase');
    expect(await ends({ version: 'v2c', community: new Secret(readOnly) })).toMatchObject(denied);
    expect(await ends({ version: 'v2c', community: new Secret(readOnly) }, '4', 'state')).toBe('off');
    expect(await ends({ version: 'v2c', community: new Secret('unknown') })).toMatchObject({
      code: 'connection-failed',
    });
    expect(await ends({ ...v3, username: 'nobody' })).toMatchObject(denied);
    expect(await ends({ ...v3, authPassword: wrong })).toMatchObject(denied);
    // What it can't decrypt, it drops without a word.
    expect(await ends({ ...v3, privPassword: wrong })).toMatchObject({
      code: 'connection-failed',
      message: expect.stringContaining('the passwords right') as string,
    });
    expect(await ends({ version: 'v3', username: v3User.name })).toMatchObject(denied);
    expect(await ends(v2c, '17')).toMatchObject({ code: 'invalid-input' });
    expect(await ends(v2c, '17', 'state')).toMatchObject({ code: 'invalid-input' });
    expect(await device.isLive('4')).toBe(false);
  });
});

describe('a board on an outlet of snmpd', () => {
  it('E-power, R18.1, R18.4: an outlet that does not switch leaves the board to a person, and a later success ends that', async () => {
    await using device = await SnmpdPdu.start();
    const power = pdu({ devices: { rack: apc({ host: device.host, snmp: v3 }) }, settleMs: 300 });
    await using lab = await createLab({
      artifacts: memoryArtifactStorage(),
      connectors: { power, shell: localShell() },
    });
    const board = await lab.boards.registerBoard({
      name: 'board1',
      boardType: 'this-machine',
      hostname: 'localhost',
      powerControl: config,
      powerSequence: { offMs: 0 },
    });
    await lab.power.powerOn(board.id);
    expect(await device.isLive('4')).toBe(true);
    expect(await lab.power.getPowerStatus(board.id)).toMatchObject({ state: 'on' });

    await device.stick();
    await expect(lab.power.powerOff(board.id)).rejects.toMatchObject({ code: 'power-failed', details: { tries: 3 } });
    expect(await device.isLive('4')).toBe(true);
    const [alert] = await lab.alerts.list({ type: 'manual-intervention', state: ['open'] });
    expect(alert).toMatchObject({ severity: 'critical', subject: board.id });
    expect(alert?.message).toContain('outlet 4 of rack');
    expect(alert?.message).toContain('reads back on');

    await device.stick(false);
    await lab.power.powerOff(board.id);
    expect(await device.isLive('4')).toBe(false);
    await lab.power.powerOn(board.id);
    expect(await lab.alerts.list({ type: 'manual-intervention', state: ['open'] })).toEqual([]);
  });
});
