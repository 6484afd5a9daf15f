import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { powerContract } from '@bringup/core/testing';
import { afterAll, expect, it } from 'vitest';
import { pdu, pdudaemon } from '../../src/index.ts';
import { Daemon } from '../../../../test/fixtures/daemon.ts';
import { freePort } from '../../../../test/fixtures/ports.ts';

interface Pdudaemon extends AsyncDisposable {
  readonly host: string;
  readonly daemon: Daemon;
}

/** A real pdudaemon with one PDU, `rack`, whose outlets are files. */
async function start(): Promise<Pdudaemon> {
  const folder = await mkdtemp(join(tmpdir(), 'bringup-pdudaemon-'));
  const port = await freePort('tcp');
  const command = (value: string): string => `test -e ${folder}/stuck || echo ${value} > ${folder}/outlet-%s`;
  await writeFile(
    join(folder, 'pdudaemon.conf'),
    JSON.stringify({
      daemon: { hostname: '127.0.0.1', port, logging_level: 'DEBUG' },
      pdus: { rack: { driver: 'localcmdline', cmd_on: command('on'), cmd_off: command('off') } },
    }),
  );
  const argv = ['/usr/sbin/pdudaemon', '--conf', `${folder}/pdudaemon.conf`, '--listener', 'http'] as const;
  const daemon = new Daemon([...argv, '--logfile', `${folder}/log`], folder);
  const host = `127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries += 1) {
    const answered = await fetch(`http://${host}/`).then(
      () => true,
      () => false,
    );
    if (answered) return { host, daemon, [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose]() };
    await pause(100);
  }
  await daemon[Symbol.asyncDispose]();
  throw new Error(`pdudaemon did not start: ${daemon.said}`);
}

const config = { method: 'network_pdu', pduAddress: 'rack-1', pduOutlet: '3' } as const;

let running: Pdudaemon | undefined;

/** It takes a second to start: one serves as many tests as it survives. */
async function shared(): Promise<Pdudaemon> {
  running ??= await start();
  for (const name of ['stuck', 'outlet-3']) await rm(join(running.daemon.folder, name), { force: true });
  return running;
}

afterAll(() => running?.[Symbol.asyncDispose]());

powerContract({
  name: 'pdudaemon',
  setup: async () => {
    const server = await shared();
    const connector = pdu({ devices: { 'rack-1': pdudaemon({ host: server.host, hostname: 'rack' }) } });
    const { folder } = server.daemon;
    return {
      outlet: await connector.open(config),
      tellsState: false,
      actual: async () =>
        (await readFile(join(folder, 'outlet-3'), 'utf8').catch(() => 'off')).trim() === 'on' ? 'on' : 'off',
      stick: () => writeFile(join(folder, 'stuck'), ''),
      disconnect: async () => {
        running = undefined;
        await server[Symbol.asyncDispose]();
      },
      dispose: async () => connector[Symbol.asyncDispose](),
    };
  },
});

it('a PDU that pdudaemon does not know is a failure that says where to look', async () => {
  const server = await shared();
  await using connector = pdu({ devices: { 'rack-1': pdudaemon({ host: server.host, hostname: 'other' }) } });
  const outlet = await connector.open(config);
  await expect(outlet.on()).rejects.toMatchObject({
    code: 'power-failed',
    message: expect.stringContaining("have a PDU 'other'") as string,
  });
});
