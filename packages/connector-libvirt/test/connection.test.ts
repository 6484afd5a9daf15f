import { once } from 'node:events';
import { limits, systemClock } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RpcConnection } from '../src/rpc/connection.ts';
import { packetStatus, packetType } from '../src/rpc/packet.ts';
import { keepaliveProcedure, procedures, programs } from '../src/rpc/procedures.ts';
import type { RpcStream } from '../src/rpc/stream.ts';
import { XdrWriter } from '../src/rpc/xdr.ts';
import { calls, FakeDaemon } from './fake-daemon.ts';

function connect(clock = systemClock): { readonly daemon: FakeDaemon; readonly connection: RpcConnection } {
  const daemon = new FakeDaemon();
  return { daemon, connection: new RpcConnection(daemon.client, { clock, peer: 'libvirt on testhost' }) };
}

const number = (value: number): Uint8Array => new XdrWriter().i32(value).bytes();

describe('a call', () => {
  test('gets the reply with its own serial, whatever the order of replies', async () => {
    const { daemon, connection } = connect();
    const results = Promise.all([connection.call('nodeGetInfo'), connection.call('authList')]);
    const [first, second] = [await daemon.take(), await daemon.take()];
    expect(calls(first, 'nodeGetInfo') && calls(second, 'authList')).toBe(true);
    daemon.reply(second, number(2));
    daemon.reply(first, number(1));
    expect((await results).map((reply) => reply.i32())).toEqual([1, 2]);
  });

  test('fails with what the daemon says, and names the call and the host', async () => {
    const { daemon, connection } = connect();
    const call = connection.call('domainLookupByName');
    daemon.refuse(await daemon.take(), 42, 'no domain with matching name');
    await expect(call).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('domainLookupByName on libvirt on testhost'),
      details: { libvirtCode: 42 },
    });
  });

  test('waits its turn while four others are under way', async () => {
    const { daemon, connection } = connect();
    const all = Array.from({ length: 6 }, () => connection.call('nodeGetInfo'));
    const open = [await daemon.take(), await daemon.take(), await daemon.take(), await daemon.take()];
    expect(daemon.waiting).toBe(0);
    daemon.reply(open[2]!);
    daemon.reply(await daemon.take());
    daemon.reply(await daemon.take());
    for (const call of [open[0]!, open[1]!, open[3]!]) daemon.reply(call);
    await Promise.all(all);
  });

  test('that nobody waits for any more keeps its slot until the daemon has answered', async () => {
    const clock = fakeClock();
    const { daemon, connection } = connect(clock);
    const late = Array.from({ length: 4 }, () => connection.call('nodeGetInfo', undefined, { timeoutMs: 10 }));
    const expectLate = Promise.all(
      late.map((call) => expect(call).rejects.toMatchObject({ code: 'deadline-exceeded' })),
    );
    const open = await daemon.take();
    await clock.advance(10);
    await expectLate;
    for (let i = 0; i < 3; i += 1) await daemon.take();
    const next = connection.call('authList');
    await clock.settle();
    expect(daemon.waiting).toBe(0);
    daemon.reply(open);
    const sent = await daemon.take();
    expect(calls(sent, 'authList')).toBe(true);
    daemon.reply(sent);
    await next;
  });

  test('that is aborted in the queue is never sent', async () => {
    const { daemon, connection } = connect();
    const running = Array.from({ length: 4 }, () => connection.call('nodeGetInfo'));
    const controller = new AbortController();
    const aborted = connection.call('connectClose', undefined, { signal: controller.signal });
    const last = connection.call('authList');
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'aborted' });
    for (let i = 0; i < 4; i += 1) daemon.reply(await daemon.take());
    await Promise.all(running);
    const sent = await daemon.take();
    expect(calls(sent, 'authList')).toBe(true);
    daemon.reply(sent);
    await last;
  });
});

test('limits.hypervisorWaitingCalls: of calls wait their turn; one more is refused, and may come again', async () => {
  const { daemon, connection } = connect();
  const before = limits.hypervisorWaitingCalls;
  Object.assign(limits, { hypervisorWaitingCalls: 3 });
  try {
    const all = Array.from({ length: 4 + 3 }, () => connection.call('nodeGetInfo'));
    await expect(connection.call('authList')).rejects.toMatchObject({
      code: 'unavailable',
      retryable: true,
      message: expect.stringContaining('come again later'),
    });
    daemon.reply(await daemon.take());
    const again = connection.call('authList');
    await expect(connection.call('authList')).rejects.toMatchObject({ code: 'unavailable' });
    daemon.serve(() => new Uint8Array());
    while (daemon.waiting > 0) daemon.reply(await daemon.take());
    await Promise.all([...all, again]);
  } finally {
    Object.assign(limits, { hypervisorWaitingCalls: before });
  }
});

describe('a connection that ends', () => {
  test('rejects every call, sent or queued, and says so in closed', async () => {
    const { daemon, connection } = connect();
    const all = Array.from({ length: 7 }, () =>
      expect(connection.call('nodeGetInfo')).rejects.toMatchObject({ code: 'connection-lost' }),
    );
    await daemon.take();
    daemon.close();
    await Promise.all(all);
    expect(await connection.closed).toMatchObject({ code: 'connection-lost', retryable: true });
    await expect(connection.call('authList')).rejects.toMatchObject({ code: 'connection-lost' });
  });

  test('by a packet that can be none is lost, with the reason as its cause', async () => {
    const { daemon, connection } = connect();
    const call = expect(connection.call('nodeGetInfo')).rejects.toMatchObject({
      code: 'connection-lost',
      cause: { code: 'hypervisor-failed' },
    });
    daemon.raw(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await call;
  });

  test('by any garbage at all ends its calls with a typed error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 4, maxLength: 200 }), async (bytes) => {
        const { daemon, connection } = connect();
        const call = expect(connection.call('nodeGetInfo')).rejects.toMatchObject({ name: 'BringupError' });
        daemon.raw(bytes);
        daemon.close();
        await call;
      }),
    );
  });

  test('because we dispose it, has no reason', async () => {
    const { daemon, connection } = connect();
    const disposed = connection[Symbol.asyncDispose]();
    daemon.reply(await daemon.take());
    await disposed;
    expect(await connection.closed).toBeUndefined();
  });

  test('because we dispose it, has no reason either when the daemon closes instead of answering', async () => {
    const { daemon, connection } = connect();
    const disposed = connection[Symbol.asyncDispose]();
    await daemon.take();
    daemon.close();
    await disposed;
    expect(await connection.closed).toBeUndefined();
  });

  test('is not held up by a daemon that does not answer the goodbye', async () => {
    const clock = fakeClock();
    const { connection } = connect(clock);
    const disposed = connection[Symbol.asyncDispose]();
    await clock.advance(limits.hypervisorCloseTimeoutMs);
    await expect(disposed).resolves.toBeUndefined();
  });
});

describe('keepalive', () => {
  const ping = { ...programs.keepalive, type: packetType.event, procedure: keepaliveProcedure.ping };

  test('a ping is answered', async () => {
    const { daemon } = connect();
    daemon.send(ping);
    expect(await daemon.take()).toMatchObject({
      program: programs.keepalive.program,
      procedure: keepaliveProcedure.pong,
    });
  });

  test('a daemon that stays silent is pinged, then given up', async () => {
    const clock = fakeClock();
    const { daemon, connection } = connect(clock);
    connection.startKeepalive();
    const call = expect(connection.call('nodeGetInfo')).rejects.toMatchObject({ code: 'connection-lost' });
    await clock.advance((limits.hypervisorKeepaliveMisses + 2) * limits.hypervisorKeepaliveIntervalMs);
    await call;
    const heard = [];
    while (daemon.waiting > 0) heard.push((await daemon.take()).program);
    expect(heard.filter((program) => program === programs.keepalive.program)).toHaveLength(
      limits.hypervisorKeepaliveMisses,
    );
  });

  test('a daemon that answers is kept', async () => {
    const clock = fakeClock();
    const { daemon, connection } = connect(clock);
    connection.startKeepalive();
    for (let round = 0; round < 10; round += 1) {
      await clock.advance(limits.hypervisorKeepaliveIntervalMs);
      while (daemon.waiting > 0) {
        await daemon.take();
        daemon.send({ ...ping, procedure: keepaliveProcedure.pong });
      }
      await clock.settle();
    }
    const call = connection.call('nodeGetInfo');
    daemon.reply(await daemon.take(), number(1));
    expect((await call).i32()).toBe(1);
  });
});

describe('a stream', () => {
  async function open(): Promise<{
    daemon: FakeDaemon;
    call: Awaited<ReturnType<FakeDaemon['take']>>;
    stream: RpcStream;
  }> {
    const { daemon, connection } = connect();
    const opening = connection.openStream('domainOpenConsole', new Uint8Array());
    const call = await daemon.take();
    daemon.reply(call);
    daemon.stream(call, packetStatus.continue, 'first ');
    return { daemon, call, stream: (await opening).stream };
  }

  async function text(chunks: AsyncIterable<Buffer>): Promise<string> {
    let all = '';
    for await (const chunk of chunks) all += chunk.toString('latin1');
    return all;
  }

  test('brings what was sent right behind the reply, and ends with the empty packet', async () => {
    const { daemon, call, stream } = await open();
    daemon.stream(call, packetStatus.continue, 'second');
    daemon.stream(call, packetStatus.continue);
    expect(await text(stream.read())).toBe('first second');
    expect(await stream.ended).toBeUndefined();
  });

  test('brings what the daemon has sent before its reply, however much, even all of it', async () => {
    const { daemon, connection } = connect();
    const opening = connection.openStream('domainScreenshot', new Uint8Array());
    const call = await daemon.take();
    for (let i = 0; i < 40; i += 1) daemon.stream(call, packetStatus.continue, 'y'.repeat(65_536));
    daemon.stream(call, packetStatus.continue);
    daemon.reply(call);
    const { stream } = await opening;
    expect((await text(stream.read())).length).toBe(40 * 65_536);
  });

  test('L-hypervisorEarlyStreamBytes: that brings more than that before the reply ends the connection', async () => {
    const before = limits.hypervisorEarlyStreamBytes;
    Object.assign(limits, { hypervisorEarlyStreamBytes: 1_000 });
    try {
      for (const bytes of [1_000, 1_001]) {
        const { daemon, connection } = connect();
        const opening = connection.openStream('domainScreenshot', new Uint8Array());
        const call = await daemon.take();
        daemon.stream(call, packetStatus.continue, 'y'.repeat(bytes));
        daemon.reply(call);
        if (bytes === 1_000) expect((await opening).stream).toBeDefined();
        else await expect(opening).rejects.toMatchObject({ code: 'connection-lost' });
      }
    } finally {
      Object.assign(limits, { hypervisorEarlyStreamBytes: before });
    }
  });

  test('of a call that the daemon refuses is gone with it, whatever came on it', async () => {
    const { daemon, connection } = connect();
    const opening = connection.openStream('domainScreenshot', new Uint8Array());
    const call = await daemon.take();
    daemon.stream(call, packetStatus.continue, 'y'.repeat(2_000_000));
    daemon.refuse(call, 1, 'no screen');
    await expect(opening).rejects.toMatchObject({ code: 'hypervisor-failed' });
    const next = connection.call('nodeGetInfo');
    daemon.reply(await daemon.take());
    await next;
  });

  test('that the daemon breaks throws its error after what came before', async () => {
    const { daemon, call, stream } = await open();
    daemon.refuse(call, 1, 'console was taken over', packetType.stream);
    const seen: string[] = [];
    const reading = (async () => {
      for await (const chunk of stream.read()) seen.push(chunk.toString());
    })();
    await expect(reading).rejects.toMatchObject({ code: 'hypervisor-failed' });
    expect(seen).toEqual(['first ']);
  });

  test('sends large input in pieces the daemon takes', async () => {
    const { daemon, call, stream } = await open();
    const written = stream.write(Buffer.alloc(600_000, 'x'));
    const sizes: number[] = [];
    while (sizes.reduce((sum, size) => sum + size, 0) < 600_000) {
      const packet = await daemon.take();
      expect(packet).toMatchObject({
        serial: call.serial,
        type: packetType.stream,
        status: packetStatus.continue,
        procedure: procedures.domainOpenConsole,
      });
      sizes.push(packet.payload.length);
    }
    await written;
    expect(Math.max(...sizes)).toBeLessThanOrEqual(262_120);
  });

  test('that nobody reads stops reading from the daemon, and goes on when somebody does', async () => {
    const { daemon, call, stream } = await open();
    for (let i = 0; i < 40; i += 1) daemon.stream(call, packetStatus.continue, 'y'.repeat(65_536));
    await once(daemon.client, 'pause');
    daemon.stream(call, packetStatus.continue);
    expect((await text(stream.read())).length).toBe(6 + 40 * 65_536);
  });

  test('that we finish is over when the daemon says so, or fails as the daemon says', async () => {
    for (const refusal of [undefined, 'disk full']) {
      const { daemon, call, stream } = await open();
      await stream.write(Buffer.from('data'));
      const finished = stream.finish();
      expect((await daemon.take()).payload.toString()).toBe('data');
      expect(await daemon.take()).toMatchObject({ serial: call.serial, status: packetStatus.ok });
      if (refusal === undefined) daemon.stream(call, packetStatus.ok);
      else daemon.refuse(call, 38, refusal, packetType.stream);
      if (refusal === undefined) await finished;
      else await expect(finished).rejects.toMatchObject({ code: 'hypervisor-failed' });
    }
  });

  test('whose opener has given up is aborted as soon as the daemon grants it', async () => {
    const { daemon, connection } = connect();
    const controller = new AbortController();
    const opening = connection.openStream('domainOpenConsole', new Uint8Array(), { signal: controller.signal });
    const call = await daemon.take();
    controller.abort();
    await expect(opening).rejects.toMatchObject({ code: 'aborted' });
    daemon.reply(call);
    expect(await daemon.take()).toMatchObject({
      serial: call.serial,
      type: packetType.stream,
      status: packetStatus.error,
    });
  });
});
