import { inspect } from 'node:util';
import { limits, Secret } from '@bringup/core';
import { powerContract } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import {
  apc,
  cyberPower,
  eaton,
  pdu,
  poeSwitch,
  raritan,
  serverTechnology,
  snmpPdu,
  type PduDriver,
  type SnmpAccess,
} from '../src/index.ts';
import { hastyClock } from './fixtures/clock.ts';
import { readOnly, readWrite, v2c, v3, v3User } from '../../../test/fixtures/snmp-users.ts';
import { SnmpPdu, type Column, type Layout } from './fixtures/snmp-pdu.ts';

/** The usual layout: one object takes 1 and 2, another tells. */
function layout(control: Column, status: Column = control, states = { on: 1, off: 2 }): Layout {
  return { on: { ...control, value: 1 }, off: { ...control, value: 2 }, status, states };
}

const apcBase = '1.3.6.1.4.1.318.1.1';
const apcLayout = layout({ entry: `${apcBase}.12.3.3.1.1`, column: 4 }, { entry: `${apcBase}.12.3.5.1.1`, column: 4 });
const raritanEntry = '1.3.6.1.4.1.13742.6.4.1.2.1';
const eatonEntry = '1.3.6.1.4.1.534.6.6.7.6.6.1';
const sentryEntry = '1.3.6.1.4.1.1718.3.2.3.1';
const cyberBase = '1.3.6.1.4.1.3808.1.1.3.3';

interface Case {
  readonly name: string;
  readonly layout: Layout;
  /** As a board names it, and as the agent indexes it. */
  readonly outlet: string;
  readonly index: string;
  readonly snmp?: SnmpAccess['snmp'];
  readonly driver: (access: SnmpAccess) => PduDriver;
}

const cases: readonly Case[] = [
  { name: 'apc rpdu', layout: apcLayout, outlet: '7', index: '7', driver: apc },
  { name: 'apc rpdu over SNMPv3', layout: apcLayout, outlet: '7', index: '7', snmp: v3, driver: apc },
  {
    name: 'apc rpdu over SNMPv1',
    layout: apcLayout,
    outlet: '7',
    index: '7',
    snmp: { version: 'v1', community: new Secret(readWrite) },
    driver: apc,
  },
  {
    name: 'apc rpdu2',
    layout: layout(
      { entry: `${apcBase}.26.9.2.4.1`, column: 5 },
      { entry: `${apcBase}.26.9.2.3.1`, column: 5 },
      { on: 2, off: 1 },
    ),
    outlet: '24',
    index: '24',
    driver: (access) => apc(Object.assign(access, { family: 'rpdu2' } as const)),
  },
  {
    name: 'apc masterswitch',
    layout: layout({ entry: `${apcBase}.4.4.2.1`, column: 3 }),
    outlet: '8',
    index: '8',
    driver: (access) => apc(Object.assign(access, { family: 'masterswitch' } as const)),
  },
  {
    name: 'raritan',
    layout: {
      on: { entry: raritanEntry, column: 2, value: 1 },
      off: { entry: raritanEntry, column: 2, value: 0 },
      status: { entry: raritanEntry, column: 3 },
      states: { on: 7, off: 8 },
    },
    outlet: '5',
    index: '2.5',
    driver: (access) => raritan(Object.assign(access, { unit: 2 })),
  },
  {
    name: 'eaton',
    layout: {
      on: { entry: eatonEntry, column: 4, value: 0 },
      off: { entry: eatonEntry, column: 3, value: 0 },
      status: { entry: eatonEntry, column: 2 },
      states: { on: 1, off: 0 },
    },
    outlet: '3',
    index: '0.3',
    driver: eaton,
  },
  {
    name: 'server technology',
    layout: layout({ entry: sentryEntry, column: 11 }, { entry: sentryEntry, column: 10 }, { on: 5, off: 4 }),
    outlet: '1.2.5',
    index: '1.2.5',
    driver: serverTechnology,
  },
  {
    name: 'cyberpower',
    layout: layout({ entry: `${cyberBase}.3.1.1`, column: 4 }, { entry: `${cyberBase}.5.1.1`, column: 4 }),
    outlet: '2',
    index: '2',
    driver: cyberPower,
  },
  {
    name: 'poe switch',
    layout: layout({ entry: '1.3.6.1.2.1.105.1.1.1', column: 3 }),
    outlet: '12',
    index: '1.12',
    driver: poeSwitch,
  },
  {
    name: 'any other',
    layout: layout({ entry: '1.3.6.1.4.1.99999.1.1', column: 6 }),
    outlet: '1.4',
    index: '1.4',
    driver: (access) =>
      snmpPdu(
        Object.assign(access, {
          control: { oid: '1.3.6.1.4.1.99999.1.1.6.{outlet}', on: 1, off: 2 },
          status: { oid: '1.3.6.1.4.1.99999.1.1.6.{outlet}', on: 1, off: 2 },
        }),
      ),
  },
];

for (const { name, layout: map, outlet: boardsName, index, snmp = v2c, driver } of cases) {
  powerContract({
    name,
    setup: async () => {
      const device = await SnmpPdu.start(map, [index]);
      const access = { host: device.host, snmp, resendMs: 1_000 };
      const devices = { dev: driver(access) };
      const connector = pdu({ devices, settleMs: 30, clock: hastyClock });
      const outlet = await connector.open({ method: 'network_pdu', pduAddress: 'dev', pduOutlet: boardsName });
      return {
        outlet,
        tellsState: true,
        actual: () => (device.isLive(index) ? 'on' : 'off'),
        stick: () => void (device.stuck = true),
        disconnect: async () => {
          await device[Symbol.asyncDispose]();
          // There is no answer to wait for.
          access.resendMs = 5;
        },
        dispose: async () => {
          await connector[Symbol.asyncDispose]();
          await device[Symbol.asyncDispose]();
        },
      };
    },
  });
}

describe('an SNMP agent', () => {
  /** What an outlet's call ends with. */
  async function failing(
    { snmp = v2c, outlet = '1', ...access }: Partial<SnmpAccess> & { outlet?: string },
    act: 'on' | 'state' = 'on',
  ): Promise<unknown> {
    await using device = await SnmpPdu.start(apcLayout, ['1']);
    const devices = { dev: apc({ host: device.host, snmp, ...access }) };
    await using connector = pdu({ devices, clock: hastyClock, settleMs: 30 });
    const opened = await connector.open({ method: 'network_pdu', pduAddress: 'dev', pduOutlet: outlet });
    const error: unknown = await opened[act]().then(
      () => 'success',
      (reason: unknown) => reason,
    );
    const shown = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error);
    for (const secret of [readWrite, readOnly, v3User.authKey, v3User.privKey, 'wrong-passphrase']) {
      expect(shown).not.toContain(secret);
    }
    return error;
  }

  it('that lets a community read only is a refusal, which trying again does not help', async () => {
    const snmp = { version: 'v2c', community: new Secret(readOnly) } as const;
    expect(await failing({ snmp })).toMatchObject({ code: 'authentication-failed', retryable: false });
    expect(await failing({ snmp }, 'state')).toBe('success');
  });

  it('that refuses a user says why, and no password gets into the error', async () => {
    const wrong = new Secret('wrong-passphrase');
    const users = [
      { ...v3, username: 'nobody' },
      { ...v3, authPassword: wrong },
      { ...v3, privPassword: wrong },
      { version: 'v3', username: v3User.name } as const,
    ];
    const errors = await Promise.all(users.map((snmp) => failing({ snmp, resendMs: 50 }, 'state')));
    // This agent does not tell of each; what a real one tells is in the lab suite.
    for (const error of errors) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^(?:authentication|connection)-failed$/) as string });
    }
    expect(errors.at(-1)).toMatchObject({ code: 'authentication-failed', retryable: false });
  });

  it('without such an outlet is a fault of the configuration', async () => {
    expect(await failing({ outlet: '9' })).toMatchObject({ code: 'invalid-input' });
    expect(await failing({ outlet: '9' }, 'state')).toMatchObject({ code: 'invalid-input' });
  });

  it('that is not there, or does not know the community, is a failed connection that may come back', async () => {
    const waited = 20 * (limits.pduSnmpResends + 1);
    expect(await failing({ host: '127.0.0.1:9', resendMs: 20 }, 'on')).toMatchObject({
      code: 'connection-failed',
      retryable: true,
      message: expect.stringContaining(`does not answer within ${waited} ms`) as string,
    });
  });

  it('is left alone at once when nobody waits any more', async () => {
    await using connector = pdu({ devices: { dev: apc({ host: '127.0.0.1:9', snmp: v2c }) } });
    const outlet = await connector.open({ method: 'network_pdu', pduAddress: 'dev', pduOutlet: '1' });
    const controller = new AbortController();
    const call = outlet.on({ signal: controller.signal });
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 'aborted' });
  });
});
