import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ssh } from '@bringup/connector-ssh';
import { localShell, Secret } from '@bringup/core';
import { afterAll, expect, it } from 'vitest';
import { startSshd } from '../../../../test/fixtures/sshd.ts';
import { ipmi, pdu, type PduDriver, type ShellAccess } from '../../src/index.ts';
import { Daemon } from '../../../../test/fixtures/daemon.ts';
import { freePort } from '../../../../test/fixtures/ports.ts';

/** What ipmi_sim asks, or has do, when the chassis is asked, or has to do something. */
const chassis = `#!/bin/sh
here=\${0%/*}
case "$1 $2" in
  'get power') echo "power:$(cat "$here/power" 2>/dev/null || echo 0)";;
  'set power') [ -e "$here/stuck" ] || echo "$3" > "$here/power";;
esac
`;

class Bmc implements AsyncDisposable {
  readonly host: string;
  readonly daemon: Daemon;

  private constructor(port: number, daemon: Daemon) {
    this.host = `127.0.0.1:${port}`;
    this.daemon = daemon;
  }

  /** OpenIPMI's simulator of a BMC: real IPMI 2.0 over LAN. */
  static async start(): Promise<Bmc> {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-ipmi-'));
    const port = await freePort('udp');
    const levels = ['callback', 'user', 'operator', 'admin'].map((level) => `allowed_auths_${level} md5`);
    const lines = [
      ...['name "bringup"', 'set_working_mc 0x20', 'startlan 1', `addr 127.0.0.1 ${port}`, 'priv_limit admin'],
      ...[...levels, 'guid a123456789abcdefa123456789abcdef', 'endlan', `chassis_control "${folder}/chassis"`],
      ...['user 1 false "" "" user 10 md5', 'user 2 true "admin" "sesame" admin 10 md5', ''],
    ];
    await writeFile(join(folder, 'lan.conf'), lines.join('\n'));
    await writeFile(
      join(folder, 'commands'),
      'mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n',
    );
    await writeFile(join(folder, 'chassis'), chassis);
    await chmod(join(folder, 'chassis'), 0o755);
    await mkdir(join(folder, 'state'));
    return new Bmc(port, new Daemon(['ipmi_sim', '-c', 'lan.conf', '-f', 'commands', '-s', 'state', '-n'], folder));
  }

  async power(): Promise<'on' | 'off'> {
    const power = await readFile(join(this.daemon.folder, 'power'), 'utf8').catch(() => '0');
    return power.trim() === '1' ? 'on' : 'off';
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.daemon[Symbol.asyncDispose]();
  }
}

const config = { method: 'network_pdu', pduAddress: 'bmc', pduOutlet: 'chassis' } as const;
const driver = (access: ShellAccess, host: string, username = 'admin', password = 'sesame'): PduDriver =>
  ipmi({ ...access, host, username, password: new Secret(password), cipherSuite: 3 });

const local = { shell: localShell() };
afterAll(() => local.shell[Symbol.asyncDispose]());

/** What the chassis is, and is said to be, after it was switched on, off and on. */
async function switched(access: ShellAccess): Promise<string[]> {
  await using bmc = await Bmc.start();
  await using connector = pdu({ devices: { bmc: driver(access, bmc.host) } });
  const outlet = await connector.open(config);
  const states: string[] = [];
  for (const wanted of ['on', 'off', 'on'] as const) {
    await outlet[wanted]();
    states.push(await bmc.power(), await outlet.state());
  }
  return states;
}

const onOffOn = ['on', 'on', 'off', 'off', 'on', 'on'];

it('ipmitool switches a BMC’s chassis, and reads it back', async () => {
  expect(await switched(local)).toEqual(onOffOn);
});

it('so it does on another machine, over SSH', async () => {
  await using sshd = await startSshd();
  await using shell = ssh({ knownHosts: [sshd.knownHosts] });
  expect(await switched({ shell, target: sshd.target })).toEqual(onOffOn);
});

it('a chassis that does not switch is a failure, and so is a BMC that is away', async () => {
  await using bmc = await Bmc.start();
  await using connector = pdu({ devices: { bmc: driver(local, bmc.host) }, settleMs: 300 });
  const outlet = await connector.open(config);
  await writeFile(join(bmc.daemon.folder, 'stuck'), '');
  await expect(outlet.on()).rejects.toMatchObject({ code: 'power-failed', details: { wanted: 'on', actual: 'off' } });
  await bmc.daemon.stop();
  await expect(outlet.on()).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
});

it('a BMC that refuses the password or the user is told from one that is away', async () => {
  await using bmc = await Bmc.start();
  const ends = async (username: string, password: string): Promise<unknown> => {
    await using connector = pdu({ devices: { bmc: driver(local, bmc.host, username, password) } });
    const outlet = await connector.open(config);
    return await outlet.on().catch((error: unknown) => error);
  };
  for (const [username, password] of [
    ['admin', 'wrong'],
    ['nobody', 'sesame'],
  ] as const) {
    expect(await ends(username, password)).toMatchObject({ code: 'authentication-failed', retryable: false });
  }
  expect(await bmc.power()).toBe('off');
});
