import { readFile } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { expect, it } from 'vitest';
import { startSshd } from '../../../../test/fixtures/sshd.ts';
import { ssh } from '../../src/index.ts';
import { preparePacketKeys } from '../../src/packet-keys.ts';

it('keys of packets are prepared in the version of ssh2 we use, and stay so when new ones are exchanged', async () => {
  await using sshd = await startSshd({ config: ['RekeyLimit 1M'] });
  const client = new ssh2.Client();
  const prepared: boolean[] = [];
  client.on('handshake', () => prepared.push(preparePacketKeys(client)));
  const ready = new Promise<void>((resolve, reject) => client.on('ready', resolve).on('error', reject));
  client.connect({
    host: '127.0.0.1',
    port: sshd.port,
    username: sshd.target.username,
    privateKey: await readFile(sshd.keyPath),
  });
  await ready;
  client.end();
  expect(prepared).toEqual([true]);

  await using connector = ssh({ knownHosts: [sshd.knownHosts] });
  await using session = await connector.connect(sshd.target);
  const { stdout } = await session.exec(['head', '-c', '6000000', '/dev/zero']);
  expect(stdout.byteLength).toBe(6_000_000);
});
