import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { isBringupError, limits, type BringupError, type ByteSource, type ShellSession } from '@bringup/core';
import { fakeClock, type FakeClock } from '@bringup/core/testing';
import { describe, expect, test } from 'vitest';
import type { ServerChannel } from 'ssh2';
import { ssh } from '../src/index.ts';
import { listen, sshServer } from './support/ssh-server.ts';

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
const block = Buffer.alloc(32 * 1024, 'x');

/** Writes for as long as the other side takes it; gives what was written. */
function flood(stream: Writable, bytes: Uint8Array = block): { written: number } {
  const count = { written: 0 };
  const more = (): void => {
    while (stream.writable && !stream.destroyed) {
      count.written += bytes.byteLength;
      if (!stream.write(bytes)) {
        stream.once('drain', more);
        return;
      }
    }
  };
  more();
  return count;
}

function failure(promise: Promise<unknown>): Promise<BringupError> {
  return promise.then(
    (value) => expect.fail(`it did not fail: ${String(value)}`),
    (error: unknown) => (isBringupError(error) ? error : expect.fail(String(error))),
  );
}

describe('what only looks like an SSH server', () => {
  const greeting = 'SSH-2.0-hostile\r\n';
  const peers: Readonly<Record<string, (socket: Socket) => unknown>> = {
    'says nothing': () => undefined,
    'says nothing after its greeting': (socket) => socket.write(greeting),
    'says one line without end': (socket) => flood(socket),
    'says lines without end': (socket) => flood(socket, Buffer.from('welcome to the lab\r\n'.repeat(1_000))),
    'speaks HTTP': (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    'claims the largest packet there is': (socket) =>
      socket.write(Buffer.concat([Buffer.from(greeting), Buffer.alloc(8, 255)])),
    'claims a packet of nothing': (socket) => socket.write(Buffer.concat([Buffer.from(greeting), Buffer.alloc(64)])),
    'says garbage': (socket) => flood(socket, Buffer.from(greeting + 'garbage'.repeat(1_000))),
    'hangs up at once': (socket) => socket.destroy(),
  };

  /** They do nothing wrong but that they do nothing more. */
  const silent = new Set(['says nothing', 'says nothing after its greeting']);

  test.for(Object.entries(peers))('and %s is no server, within the time there is', async ([what, onConnection]) => {
    const clock = fakeClock();
    await using server = await listen(onConnection);
    await using connector = ssh({ ...server.options, clock });
    const connecting = failure(connector.connect(server.target, { timeoutMs: 10_000 }));
    const error = await (silent.has(what) ? clock.runUntil(connecting) : connecting);
    expect(error.code).toBe(silent.has(what) ? 'deadline-exceeded' : 'connection-failed');
    // What it had to say was not taken for longer than it took to see that.
    for (const socket of server.sockets) expect(socket.bytesWritten).toBeLessThan(32 * 1024 * 1024);
  });
});

/** A session with a server whose commands do that. */
async function against<T>(
  onCommand: ((channel: ServerChannel, command: string) => void) | undefined,
  act: (session: ShellSession, clock: FakeClock, begun: Promise<void>) => Promise<T>,
): Promise<T> {
  const clock = fakeClock();
  const begun = Promise.withResolvers<void>();
  await using server = await sshServer(
    onCommand === undefined
      ? {}
      : {
          onCommand: (channel, command) => {
            onCommand(channel, command);
            begun.resolve();
          },
        },
  );
  await using connector = ssh({ ...server.options, clock });
  const session = await connector.connect(server.target);
  try {
    return await act(session, clock, begun.promise);
  } finally {
    for (const socket of server.sockets) socket.destroy();
    await clock.runUntil(Promise.resolve(session[Symbol.asyncDispose]()));
  }
}

/** How a call fails against a server that does that, without time having to pass. */
const failing = (
  onCommand: (channel: ServerChannel) => unknown,
  act: (session: ShellSession) => Promise<unknown>,
): Promise<BringupError> =>
  against(
    (channel) => void onCommand(channel),
    (session) => failure(act(session)),
  );

/** How it fails once the server has got it and does nothing more that counts. */
const failingLate = (
  onCommand: (channel: ServerChannel) => unknown,
  act: (session: ShellSession) => Promise<unknown>,
): Promise<BringupError> =>
  against(
    (channel) => void onCommand(channel),
    async (session, clock, begun) => {
      const failed = failure(act(session));
      await begun;
      await clock.settle();
      return clock.runUntil(failed);
    },
  );

describe('a command on a hostile server', () => {
  test('that says more than allowed is ended, and little more than that is taken', async () => {
    let said = { written: 0 };
    const error = await failing(
      (channel) => (said = flood(channel)),
      (session) => session.exec(['x'], { maxOutputBytes: 100_000 }),
    );
    expect(error.code).toBe('command-failed');
    // Its window, what waits in sockets, and no more.
    expect(said.written).toBeLessThan(16 * 1024 * 1024);
  });

  test('L-processBufferBytes: that is left unread waits on the server: what it says is not kept here', async () => {
    let said = { written: 0 };
    await against(
      (channel) => void (said = flood(channel)),
      async (session, clock) => {
        const process = await session.spawn(['x']);
        for (let turn = 0; turn < 50; turn += 1) await clock.settle();
        const before = said.written;
        for (let turn = 0; turn < 50; turn += 1) await clock.settle();
        expect(said.written).toBe(before);
        expect(before).toBeLessThan(16 * 1024 * 1024);
        await Promise.all([clock.advance(2 * limits.killGraceMs), process[Symbol.asyncDispose]()]);
      },
    );
  });

  test('that never ends is given up in time', async () => {
    const error = await failingLate(
      () => undefined,
      (session) => session.exec(['x'], { timeoutMs: 5_000 }),
    );
    expect(error.code).toBe('deadline-exceeded');
  });

  test('whose channel is never opened is given up in time, transfers too', async () => {
    const calls: ((session: ShellSession) => Promise<unknown>)[] = [
      (session) => session.exec(['x'], { timeoutMs: 10 * limits.sshChannelOpenMs }),
      (session) => session.spawn(['x']),
      (session) => readAll(session.download('/x')),
    ];
    for (const act of calls) {
      const error = await against(undefined, (session, clock) => failure(clock.runUntil(act(session))));
      expect(error).toMatchObject({ code: 'connection-lost', retryable: true });
    }
  });

  test('that ends without saying how has not succeeded', async () => {
    const error = await failing(
      (channel) => channel.end('done\n'),
      (session) => session.exec(['x']),
    );
    expect(error.code).toBe('connection-lost');
  });

  test('that claims an exit status beyond all bounds is told as it is', async () => {
    const ended = against(
      (channel) => {
        channel.exit(0xffff_ffff);
        channel.end();
      },
      (session) => session.exec(['x']),
    );
    expect(await ended).toMatchObject({ exitCode: 0xffff_ffff, signal: null });
  });
});

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

describe('a download from a hostile server', () => {
  const answers: Readonly<Record<string, (channel: ServerChannel) => unknown>> = {
    'never answers': () => undefined,
    'says a size without end': (channel) => flood(channel, Buffer.alloc(1024, '9')),
    'says a size that is none': (channel) => channel.write('-1\n'),
    'says a size in words': (channel) => channel.write('many\n'),
    'sends more than it said': (channel) => {
      channel.write('3\n');
      flood(channel);
    },
    'sends less than it said': (channel) => end(channel, '9\nabc', `${sha256('abc?')}  -\n`),
    'lies about the hash': (channel) => end(channel, '3\nabc', `${sha256('abd')}  -\n`),
    'says no hash': (channel) => end(channel, '3\nabc', ''),
    'stops in the middle': (channel) => channel.write('9\nabc'),
    'complains without end': (channel) => {
      channel.end('3\nabc');
      flood(channel.stderr);
    },
    'ends without saying how': (channel) => channel.end('3\nabc'),
  };

  const endless = new Set(['never answers', 'stops in the middle', 'complains without end']);

  test.for(Object.entries(answers))('that %s fails in time', async ([what, onCommand]) => {
    const fail = endless.has(what) ? failingLate : failing;
    const error = await fail(onCommand, (session) => readAll(session.download('/srv/kernel')));
    expect(['transfer-failed', 'checksum-mismatch', 'connection-lost']).toContain(error.code);
    expect(error.message.length).toBeLessThan(2_000);
  });

  test('gives no file that has another hash than the one that is expected', async () => {
    const error = await failing(
      (channel) => end(channel, '3\nabc', `${sha256('abc')}  -\n`),
      (session) => readAll(session.download('/x', { sha256: sha256('other') })),
    );
    expect(error.code).toBe('checksum-mismatch');
  });
});

function end(channel: ServerChannel, output: string, said: string): void {
  channel.stderr.write(said);
  channel.write(output);
  channel.exit(0);
  channel.end();
}

describe('an upload to a hostile server', () => {
  const bytes = Buffer.alloc(8 * 1024 * 1024, 'k');
  const source = (): ByteSource & { given: number } => ({
    sizeBytes: bytes.byteLength,
    given: 0,
    async *read(offset = 0) {
      for (let at = offset; at < bytes.byteLength; at += block.byteLength) {
        const chunk = bytes.subarray(at, at + block.byteLength);
        this.given += chunk.byteLength;
        yield chunk;
      }
    },
  });

  const answers: Readonly<Record<string, (channel: ServerChannel) => unknown>> = {
    'never takes a byte': (channel) => channel.pause(),
    'takes all and never answers': (channel) => channel.resume(),
    'lies about the hash': (channel) =>
      channel.resume().once('end', () => end(channel, `sha256:${sha256('other')}\n`, '')),
    'says no hash': (channel) => channel.resume().once('end', () => end(channel, '', '')),
    'answers without end': (channel) => flood(channel.resume()),
    'ends at once': (channel) => end(channel, '', ''),
    'hangs up': (channel) => channel.close(),
  };

  const endless = new Set(['never takes a byte', 'takes all and never answers', 'answers without end']);

  test.for(Object.entries(answers))('that %s fails in time', async ([what, onCommand]) => {
    const fail = endless.has(what) ? failingLate : failing;
    const error = await fail(onCommand, (session) => session.upload(source(), '/srv/kernel'));
    expect(['transfer-failed', 'checksum-mismatch', 'connection-lost']).toContain(error.code);
    expect(error.message.length).toBeLessThan(2_000);
  });

  test('that takes nothing keeps most of the source unread', async () => {
    const slow = source();
    await failingLate(
      (channel) => channel.pause(),
      (session) => session.upload(slow, '/srv/kernel'),
    );
    expect(slow.given).toBeLessThan(bytes.byteLength);
  });

  test.for(['have:99999999999999999999\n', 'have:-1\n', 'have:8388609\n', 'x'.repeat(100_000), 'have:'])(
    'that claims to have begun it before (%j) fails',
    async (claim) => {
      const known = { ...source(), sha256: sha256(bytes) };
      const error = await failingLate(
        (channel) => {
          channel.resume();
          channel.write(claim);
        },
        (session) => session.upload(known, '/srv/kernel', { resume: true }),
      );
      expect(['transfer-failed', 'checksum-mismatch', 'connection-lost']).toContain(error.code);
    },
  );
});
