import { duplexPair, type Duplex } from 'node:stream';
import { isBringupError, limits, type BringupError } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RpcConnection } from '../src/rpc/connection.ts';
import { encodePacket, maxPacketBytes, packetStatus, packetType, type Packet } from '../src/rpc/packet.ts';
import { keepaliveProcedure, procedures, programs } from '../src/rpc/procedures.ts';
import { XdrWriter } from '../src/rpc/xdr.ts';
import { Scram } from '../src/sasl.ts';
import { signIn } from '../src/sign-in.ts';
import { FakeDaemon } from './fake-daemon.ts';

const peer = 'libvirt on testhost';
const empty = new Uint8Array();

function failure(promise: Promise<unknown>): Promise<BringupError> {
  return promise.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => (isBringupError(error) ? error : expect.fail(String(error))),
  );
}

function packet(fields: Partial<Packet>): Buffer {
  const plain = { ...programs.remote, procedure: 0, type: packetType.reply, serial: 0, status: packetStatus.ok };
  return encodePacket({ ...plain, payload: empty, ...fields });
}

/** A client, and the raw end of the daemon, which reads only what is asked of it. */
function raw(): { readonly connection: RpcConnection; readonly daemon: Duplex; readonly client: Duplex } {
  const [client, daemon] = duplexPair();
  daemon.on('error', () => undefined);
  return { connection: new RpcConnection(client, { clock: fakeClock(), peer }), daemon, client };
}

describe('a hostile daemon', () => {
  test('that claims a packet of 4 GiB, or of nothing, has lost the connection at once', async () => {
    for (const length of [0xffff_ffff, maxPacketBytes + 1, 27, 0]) {
      const { connection, daemon } = raw();
      const call = failure(connection.call('nodeGetInfo'));
      const word = Buffer.alloc(4);
      word.writeUInt32BE(length);
      daemon.write(word);
      expect(await call).toMatchObject({ code: 'connection-lost' });
    }
  });

  test('that never answers is given up when the call says so, and by default too', async () => {
    for (const timeoutMs of [1_000, undefined]) {
      const clock = fakeClock();
      const daemon = new FakeDaemon();
      const connection = new RpcConnection(daemon.client, { clock, peer });
      const begun = clock.now();
      const options = timeoutMs === undefined ? {} : { timeoutMs };
      const error = await clock.runUntil(failure(connection.call('nodeGetInfo', empty, options)));
      expect(error.code).toBe('deadline-exceeded');
      expect(clock.now() - begun).toBe(timeoutMs ?? limits.hypervisorCallTimeoutMs);
    }
  });

  test('that answers what was not asked, with wrong serials and procedures, answers nobody', async () => {
    const clock = fakeClock();
    const daemon = new FakeDaemon();
    const connection = new RpcConnection(daemon.client, { clock, peer });
    const call = failure(connection.call('nodeGetInfo', empty, { timeoutMs: 1_000 }));
    const { serial } = await daemon.take();
    for (const wrong of [serial + 1, 0, 0xffff_ffff]) daemon.send({ serial: wrong });
    for (let procedure = -5; procedure < 600; procedure += 1) daemon.send({ type: packetType.event, procedure });
    daemon.send({ type: packetType.stream, serial, status: packetStatus.continue, payload: Buffer.alloc(1000) });
    expect((await clock.runUntil(call)).code).toBe('deadline-exceeded');
  });

  test('that answers a call twice has answered it once', async () => {
    const daemon = new FakeDaemon();
    const connection = new RpcConnection(daemon.client, { clock: fakeClock(), peer });
    const first = connection.call('nodeGetInfo');
    const call = await daemon.take();
    daemon.reply(call, new XdrWriter().i32(1).bytes());
    daemon.reply(call, new XdrWriter().i32(2).bytes());
    expect((await first).i32()).toBe(1);
    const second = connection.call('nodeGetInfo');
    daemon.reply(await daemon.take(), new XdrWriter().i32(3).bytes());
    expect((await second).i32()).toBe(3);
  });

  test('that pings without end and reads nothing is not answered without end', async () => {
    const { connection, daemon, client } = raw();
    const ping = packet({ ...programs.keepalive, procedure: keepaliveProcedure.ping, type: packetType.event });
    const pings = Buffer.concat(Array.from({ length: 10_000 }, () => ping));
    for (let round = 0; round < 20; round += 1) {
      daemon.write(pings);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(client.writableLength).toBeLessThan(2 * limits.hypervisorUnreadBytes);
    daemon.destroy();
    await connection.closed;
  });

  test('that sends a stream without end to somebody who does not read is made to wait', async () => {
    const { connection, daemon } = raw();
    const opening = connection.openStream('domainOpenConsole', empty);
    daemon.write(packet({ procedure: procedures.domainOpenConsole, serial: 1 }));
    const { stream } = await opening;
    const piece = packet({
      procedure: procedures.domainOpenConsole,
      type: packetType.stream,
      serial: 1,
      status: packetStatus.continue,
      payload: Buffer.alloc(65_536, 'x'),
    });
    let sent = 0;
    while (daemon.writableLength < 1024 * 1024) {
      daemon.write(piece);
      sent += piece.length;
      await new Promise((resolve) => setImmediate(resolve));
      expect(sent).toBeLessThan(16 * 1024 * 1024);
    }
    daemon.destroy();
    for await (const _ of stream.read()) break;
    await connection.closed;
  });

  test('that never comes to an end with signing in is refused', async () => {
    const daemon = new FakeDaemon();
    const connection = new RpcConnection(daemon.client, { clock: fakeClock(), peer });
    daemon.serve(({ procedure }) => {
      if (procedure === procedures.authList)
        return new XdrWriter()
          .array([1], () => undefined)
          .i32(1)
          .bytes();
      if (procedure === procedures.authSaslInit) return new XdrWriter().string('PLAIN').bytes();
      return new XdrWriter().i32(0).i32(0).u32(0).bytes();
    });
    const account = { username: 'lab', password: { reveal: () => 'x' } as never };
    const error = await failure(signIn(connection, { account, confidential: true }));
    expect(error).toMatchObject({
      code: 'authentication-failed',
      message: expect.stringContaining('never comes to an end'),
    });
  });
});

describe('SCRAM', () => {
  const field = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constantFrom(
      'r=nonce',
      'r=nonce2',
      's=QUJD',
      's=',
      'i=4096',
      'i=0',
      'i=999999999',
      'i=-1',
      'v=AAAA',
      'e=other-error',
      'm=x',
    ),
  );

  test('with a daemon that says anything ends in an answer or a refusal, and never proves what was not proven', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(field, { maxLength: 5 }), fc.array(field, { maxLength: 3 }), async (first, second) => {
        const scram = new Scram('SCRAM-SHA-256', 'lab', 'secret', 'nonce');
        try {
          expect(await scram.answer(first.join(','))).not.toContain('secret');
          await scram.answer(second.join(','));
        } catch (error) {
          expect(isBringupError(error, 'authentication-failed'), String(error)).toBe(true);
        }
        expect(scram.complete).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });
});
