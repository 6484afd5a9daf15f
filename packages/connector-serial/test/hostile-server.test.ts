import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { isBringupError, limits, type BringupError, type ShellConnector } from '@bringup/core';
import { fakeClock, type FakeClock } from '@bringup/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serial } from '../src/index.ts';
import { parseDevice } from '../src/device.ts';
import { encodeSubnegotiation, encodeTelnet, TelnetDecoder } from '../src/telnet-codec.ts';
import { TelnetOptions } from '../src/telnet-options.ts';

const [IAC, SB, WILL, WONT, DO, DONT] = [255, 250, 251, 252, 253, 254];

/** Something that listens as a console server would. */
async function hostileServer(onConnection: (socket: Socket) => void) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    sockets,
    where: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose](): Promise<void> {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Writes for as long as the other side takes it. */
function flood(socket: Socket, bytes: Uint8Array, most = Infinity): void {
  let written = 0;
  const more = (): void => {
    while (!socket.destroyed && written < most) {
      written += bytes.byteLength;
      if (!socket.write(bytes)) {
        socket.once('drain', more);
        return;
      }
    }
  };
  more();
}

const target = (device: string) => ({ name: 'board1', device, baudRate: 115_200 });

async function failure(promise: Promise<unknown>): Promise<BringupError> {
  return promise.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => (isBringupError(error) ? error : expect.fail(String(error))),
  );
}

/** Moves time on in steps until it settles, with room for the sockets in between. */
async function inTime<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const mark = (): void => void (settled = true);
  promise.then(mark, mark);
  for (let step = 0; !settled && step < 10_000; step += 1) await clock.advance(100);
  return promise;
}

describe('a console server that does not play by the rules', () => {
  const floods: Readonly<Record<string, Uint8Array>> = {
    'asks for options without end': Buffer.alloc(30_000, Uint8Array.of(IAC, DO, 99, IAC, WILL, 98)),
    'agrees and refuses in turn without end': Buffer.alloc(
      30_000,
      Uint8Array.of(IAC, DO, 0, IAC, DONT, 0, IAC, WILL, 0, IAC, WONT, 0),
    ),
  };

  it.each(Object.entries(floods))(
    'L-serialUnreadAnswerBytes: and %s while it reads no answer is hung up on',
    async (_, bytes) => {
      await using server = await hostileServer((socket) => {
        socket.pause();
        flood(socket, bytes);
      });
      await using connector = serial();
      const console = await connector.open(target(`telnet://${server.where}`)).catch((error: unknown) => error);
      if (isBringupError(console)) {
        expect(console.code).toBe('connection-lost');
        return;
      }
      const { output } = console as Awaited<ReturnType<typeof connector.open>>;
      const reading = (async () => {
        for await (const _bytes of output);
      })();
      expect(await failure(reading)).toMatchObject({
        code: 'connection-lost',
        message: expect.stringContaining('options'),
      });
    },
  );

  it('that talks without end before it has agreed is remembered only as far as it goes', async () => {
    const clock = fakeClock();
    const chunk = Buffer.alloc(65_536, 'x');
    await using server = await hostileServer((socket) => flood(socket, chunk, 32 * 1024 * 1024));
    await using connector = serial({ clock });
    // Time stands still: it goes on hearing until all has been said.
    const opening = connector.open(target(`telnet://${server.where}`));
    while ((server.sockets[0]?.bytesWritten ?? 0) < 32 * 1024 * 1024) await clock.settle();
    const console = await inTime(clock, opening);
    server.sockets[0]?.end();
    let heard = 0;
    const reading = (async () => {
      for await (const bytes of console.output) heard += bytes.length;
    })();
    await failure(reading);
    expect(heard).toBeLessThanOrEqual(limits.serialBufferBytes + 2 * chunk.length);
  });

  const silent: Readonly<Record<string, (socket: Socket) => unknown>> = {
    'never says a word': () => undefined,
    'agrees on the option and answers nothing': (socket) => socket.write(Uint8Array.of(IAC, DO, 44)),
    'begins a subnegotiation and never ends it': (socket) => {
      socket.write(Uint8Array.of(IAC, DO, 44, IAC, SB, 44));
      flood(socket, Buffer.alloc(65_536, 'x'), 4 * 1024 * 1024);
    },
    'answers with nonsense': (socket) => {
      socket.write(Uint8Array.of(IAC, DO, 44));
      for (let what = 0; what < 256; what += 1)
        socket.write(encodeSubnegotiation(44, [what, 255, 255, 255, 255, 255, 255]));
    },
  };

  it.each(Object.entries(silent))('and %s is no RFC 2217 server, within the time there is', async (_, onConnection) => {
    const clock = fakeClock();
    await using server = await hostileServer((socket) => void onConnection(socket));
    await using connector = serial({ clock });
    const error = await inTime(
      clock,
      failure(connector.open(target(`rfc2217://${server.where}`), { timeoutMs: 10_000 })),
    );
    expect(['deadline-exceeded', 'connection-failed', 'unsupported']).toContain(error.code);
    // Its place is free again.
    expect(
      await inTime(clock, failure(connector.open(target(`rfc2217://${server.where}`), { timeoutMs: 10_000 }))),
    ).toMatchObject({ code: error.code });
  });

  it('that never reads can’t be written to for ever', async () => {
    const clock = fakeClock();
    await using server = await hostileServer((socket) => socket.pause());
    await using connector = serial({ clock });
    const console = await connector.open(target(`tcp://${server.where}`));
    const writing = failure(console.write(Buffer.alloc(64 * 1024 * 1024), { timeoutMs: 5_000 }));
    expect(await inTime(clock, writing)).toMatchObject({ code: 'deadline-exceeded' });
    for (const socket of server.sockets) socket.destroy();
  });

  it('that floods a console nobody reads is made to wait', async () => {
    const clock = fakeClock();
    await using server = await hostileServer((socket) => flood(socket, Buffer.alloc(65_536, 'x')));
    await using connector = serial({ clock });
    await using _console = await connector.open(target(`tcp://${server.where}`));
    let before = -1;
    const written = (): number => server.sockets[0]?.bytesWritten ?? 0;
    while (written() > before) {
      before = written();
      for (let turn = 0; turn < 20; turn += 1) await clock.settle();
    }
    expect(before).toBeLessThan(32 * 1024 * 1024);
  });
});

describe('telnet’s codec', () => {
  const pieces = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 30 }),
      fc
        .array(fc.constantFrom(IAC, SB, WILL, DO, 240, 13, 10, 0, 44), { maxLength: 8 })
        .map((list) => Uint8Array.from(list)),
    ),
    { maxLength: 12 },
  );

  it('takes any bytes in any pieces, keeps no more than a bound of them, and gives the same', () => {
    fc.assert(
      fc.property(pieces, (chunks) => {
        const [whole, pieced] = [new TelnetDecoder(), new TelnetDecoder()];
        const bytes = Buffer.concat(chunks);
        const one = whole.decode(bytes);
        const many = chunks.map((chunk) => pieced.decode(chunk));
        expect(Buffer.concat(many.map(({ data }) => data))).toEqual(Buffer.from(one.data));
        expect(many.flatMap(({ commands }) => commands)).toEqual(one.commands);
        expect(one.data.length).toBeLessThanOrEqual(bytes.length);
        for (const command of one.commands) {
          if (command.verb === 'sub') expect(command.payload.length).toBeLessThan(limits.serialSubnegotiationBytes);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('gives back what it was given, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, binary) => {
        const decoder = new TelnetDecoder();
        decoder.binary = binary;
        const { data, commands } = decoder.decode(encodeTelnet(bytes, binary));
        expect(Buffer.from(data)).toEqual(Buffer.from(bytes));
        expect(commands).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('gives back a subnegotiation, whatever its bytes', () => {
    fc.assert(
      fc.property(fc.nat(254), fc.uint8Array({ maxLength: 200 }), (option, payload) => {
        const { commands } = new TelnetDecoder().decode(encodeSubnegotiation(option, [...payload]));
        expect(commands).toEqual([{ verb: 'sub', option, payload: Uint8Array.from(payload) }]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('answers each demand at most once: two that confirm each other come to an end', () => {
    const demand = fc.record({ verb: fc.constantFrom('will', 'wont', 'do', 'dont'), option: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(demand, { maxLength: 50 }), (demands) => {
        let answers = 0;
        const options = new TelnetOptions({ ours: [0, 3], theirs: [0, 3] }, () => (answers += 1));
        for (const command of demands) options.hear(command);
        expect(answers).toBeLessThanOrEqual(demands.length);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('the address of a console', () => {
  it('with a login in it is refused without repeating it', () => {
    for (const scheme of ['tcp', 'telnet', 'rfc2217', 'exporter', 'ftp']) {
      for (const login of ['user:canary', 'canary@user:canary', ':canary']) {
        const parse = (): unknown => parseDevice(`${scheme}://${login}@10.0.0.5:4001/x`);
        expect(parse).toThrow(expect.objectContaining({ code: 'invalid-input' }));
        expect(parse).not.toThrow(/canary/);
      }
    }
  });

  it('whatever its text, is one or is refused', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary', maxLength: 40 }),
          fc
            .tuple(
              fc.constantFrom('tcp://', 'telnet://', 'rfc2217://', 'unix://', 'exporter://', '/dev/'),
              fc.string({ maxLength: 30 }),
            )
            .map((parts) => parts.join('')),
        ),
        (device) => {
          try {
            expect(typeof parseDevice(device).type).toBe('string');
          } catch (error) {
            expect(isBringupError(error, 'invalid-input'), String(error)).toBe(true);
          }
        },
      ),
      { numRuns: 3_000 },
    );
  });
});

describe('what is quoted of a server', () => {
  it('limits.serialErrorBytes: is that much, when it hangs up', async () => {
    const quoted = async (bytes: number): Promise<number> => {
      await using server = await hostileServer((socket) => socket.end('x'.repeat(bytes)));
      await using connector = serial();
      const { message } = await failure(connector.open(target(`rfc2217://${server.where}`), { timeoutMs: 20_000 }));
      return (/x+$/.exec(message)?.[0] ?? '').length;
    };
    expect(await quoted(limits.serialErrorBytes)).toBe(limits.serialErrorBytes);
    expect(await quoted(limits.serialErrorBytes + 1)).toBe(limits.serialErrorBytes);
  });

  it('limits.serialErrorBytes: is that much, when it is an exporter; one that talks on is given up there', async () => {
    const opening = async (out: string, err: string): Promise<BringupError> => {
      const bytes = async function* (text: string): AsyncGenerator<Uint8Array> {
        yield Buffer.from(text);
      };
      const process = {
        stdout: bytes(out),
        stderr: bytes(err),
        exited: Promise.resolve({ exitCode: 1, signal: null }),
        write: async () => undefined,
        end: async () => undefined,
        kill: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      };
      const session = { spawn: async () => process, [Symbol.asyncDispose]: async () => undefined };
      const shell = { name: 'ssh', connect: async () => session } as unknown as ShellConnector;
      await using connector = serial({
        exporters: { lab3: { connector: shell, target: { hostname: 'lab3', username: 'lab' } } },
      });
      return await failure(connector.open(target('exporter://lab3/dev/ttyS0'), { timeoutMs: 20_000 }));
    };
    for (const bytes of [limits.serialErrorBytes, limits.serialErrorBytes + 1]) {
      const { message } = await opening('', 'x'.repeat(bytes));
      expect(/x+$/.exec(message)?.[0]).toHaveLength(limits.serialErrorBytes);
    }
    expect((await opening('y'.repeat(limits.serialErrorBytes), 'why')).message).toMatch(/why$/);
    expect((await opening('y'.repeat(limits.serialErrorBytes + 1), 'why')).message).toMatch(/plain shell/);
  });
});
