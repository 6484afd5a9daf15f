import { isBringupError, systemClock } from '@bringup/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseCapabilities } from '../src/capabilities.ts';
import { Daemon } from '../src/daemon.ts';
import { readDomain, writeDomain } from '../src/domain.ts';
import { RpcConnection } from '../src/rpc/connection.ts';
import { encodePacket, maxPacketBytes, PacketSplitter, packetStatus, packetType } from '../src/rpc/packet.ts';
import type { Packet } from '../src/rpc/packet.ts';
import { procedures, programs } from '../src/rpc/procedures.ts';
import { decodeRemoteError } from '../src/rpc/remote-error.ts';
import { maxStringBytes, XdrReader, XdrWriter } from '../src/rpc/xdr.ts';
import { DomainSnapshots, parseSnapshot } from '../src/snapshots.ts';
import { StorageCalls } from '../src/storage-calls.ts';
import { parseTags } from '../src/tags.ts';
import { readTypedParams } from '../src/typed-params.ts';
import { readXml } from '../src/xml.ts';
import { FakeDaemon } from './fake-daemon.ts';

const numRuns = 500;
const domain = { name: 'vm', uuid: Buffer.alloc(16, 7), id: 3 };
const volume = { pool: 'images', name: 'disk', key: '/images/disk' };

/** What a decoder makes of bytes: whatever it is, nothing but our own error is thrown. */
function typed<T>(decode: () => T): T | 'refused' {
  try {
    return decode();
  } catch (error) {
    expect(isBringupError(error, 'hypervisor-failed'), String(error)).toBe(true);
    return 'refused';
  }
}

/** A change that a broken peer, or a malicious one, may make to a message. */
const damage = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({
    kind: fc.constant('word' as const),
    at: fc.nat(),
    value: fc.constantFrom(0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x0040_0001),
  }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('double' as const), at: fc.nat() }),
);
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

function damaged(bytes: Uint8Array, changes: readonly Damage[]): Buffer {
  let now = Buffer.from(bytes);
  for (const change of changes) {
    const at = change.at % (now.length + 1);
    if (change.kind === 'flip' && at < now.length) now[at] = change.value;
    if (change.kind === 'word' && at + 4 <= now.length) now.writeUInt32BE(change.value, at - (at % 4));
    if (change.kind === 'cut') now = now.subarray(0, at);
    if (change.kind === 'double') now = Buffer.concat([now.subarray(0, at), now]);
  }
  return now;
}

const anything = fc.oneof(
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  fc.tuple(fc.integer({ min: 0, max: 9 }), fc.array(damage, { minLength: 1, maxLength: 4 })).map(([which, changes]) => {
    const messages = [remoteError(), domainList(), typedParams()];
    return damaged(messages[which % messages.length] ?? Buffer.alloc(0), changes);
  }),
);

function remoteError(): Buffer {
  const writer = new XdrWriter().i32(42).i32(10);
  return writer
    .optional('no domain', (text) => writer.string(text))
    .i32(2)
    .bytes();
}

function domainList(): Buffer {
  const writer = new XdrWriter();
  return writer
    .array([domain, domain], (item) => writeDomain(writer, item))
    .u32(2)
    .bytes();
}

function typedParams(): Buffer {
  const writer = new XdrWriter().u32(3);
  writer.string('state.state').i32(1).i32(5).string('cpu.time').i32(4).u64(77n).string('vcpu').i32(7).string('x');
  return writer.bytes();
}

describe('any bytes given to a decoder', () => {
  test('end in a value or in a typed error', () => {
    fc.assert(
      fc.property(anything, (bytes) => {
        typed(() => decodeRemoteError(bytes));
        typed(() => readDomain(new XdrReader(bytes)));
        typed(() => readTypedParams(new XdrReader(bytes)));
        typed(() => new PacketSplitter().push(bytes));
      }),
      { numRuns },
    );
  });

  test('never become more items, or longer ones, than the bytes can hold', () => {
    fc.assert(
      fc.property(anything, (bytes) => {
        const items = typed(() => new XdrReader(bytes).array(0xffff_ffff, () => 0));
        if (items !== 'refused') expect(4 * items.length).toBeLessThanOrEqual(bytes.length);
        const text = typed(() => new XdrReader(bytes).string());
        if (text !== 'refused') expect(Buffer.byteLength(text)).toBeLessThanOrEqual(3 * bytes.length);
      }),
      { numRuns },
    );
  });

  test('a string longer than libvirt allows is refused though its message holds it', () => {
    const bytes = Buffer.alloc(maxStringBytes + 8);
    bytes.writeUInt32BE(maxStringBytes + 1);
    expect(typed(() => new XdrReader(bytes).string())).toBe('refused');
    bytes.writeUInt32BE(maxStringBytes);
    expect(typed(() => new XdrReader(bytes).string())).toHaveLength(maxStringBytes);
  });
});

describe('any text given to an XML reader', () => {
  const sample = `<?xml version="1.0"?><capabilities><host><cpu><arch>x86_64</arch></cpu></host>
    <guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/><domain type="kvm"/></arch></guest></capabilities>`;
  const pieces = fc.array(
    fc.constantFrom(
      '<',
      '>',
      '/',
      '<a>',
      '</a>',
      '<a b="',
      "'",
      '"',
      '&',
      '&amp;',
      '&#0;',
      '&x;',
      '<!--',
      '-->',
      '<![CDATA[',
      ']]>',
      '<?',
      '?>',
      '<!DOCTYPE a [',
      '<!ENTITY x "y">',
      ']>',
      '__proto__',
      '<__proto__>',
      '<constructor/>',
      ' ',
      '\u0000',
      '\ud800',
    ),
    { maxLength: 40 },
  );
  const texts = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    pieces.map((list) => list.join('')),
    fc
      .array(damage, { minLength: 1, maxLength: 4 })
      .map((changes) => damaged(Buffer.from(sample), changes).toString('utf8')),
  );

  test('ends in an element or in a typed error', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const node = typed(() => readXml(text));
        expect(typeof node === 'object' || node === 'refused').toBe(true);
        typed(() => parseCapabilities(text));
        typed(() => parseSnapshot(text));
        expect(Object.getPrototypeOf(parseTags(text))).toBe(Object.prototype);
        expect(({} as Record<string, unknown>)['#text']).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });

  test('with entities that multiply stays as small as it is', () => {
    const entities = Array.from({ length: 12 }, (_, index) =>
      index === 0 ? `<!ENTITY e0 "${'x'.repeat(100)}">` : `<!ENTITY e${index} "${`&e${index - 1};`.repeat(10)}">`,
    );
    const bomb = `<!DOCTYPE a [${entities.join('')}]><a>&e11;</a>`;
    const node = typed(() => readXml(bomb));
    expect(JSON.stringify(node).length).toBeLessThan(2 * bomb.length);
  });

  test.for(['<a>', '<a b="'])(
    'with a hundred thousand of %j in a row is refused or read, and soon',
    { timeout: 10_000 },
    (piece) => {
      const node = typed(() => readXml(piece.repeat(100_000)));
      expect(['object', 'string']).toContain(typeof node);
    },
  );
});

describe('a stream of packets', () => {
  const packet = fc.record({
    program: fc.constantFrom(programs.remote.program, programs.keepalive.program, 7),
    version: fc.constantFrom(1, 2),
    procedure: fc.constantFrom(...Object.values(procedures), 0, -1),
    type: fc.constantFrom(...Object.values(packetType), 5, -1),
    serial: fc.constantFrom(0, 1, 2, 3, 0xffff_ffff),
    status: fc.constantFrom(...Object.values(packetStatus), 3, -1),
    payload: fc.uint8Array({ maxLength: 60 }),
  });

  test('split at any one byte comes out the same', () => {
    fc.assert(
      fc.property(fc.array(packet, { minLength: 1, maxLength: 3 }), (packets) => {
        const bytes = Buffer.concat(packets.map(encodePacket));
        const plain = (list: readonly Packet[]) =>
          list.map((item) => ({ ...item, payload: new Uint8Array(item.payload) }));
        for (let at = 0; at <= bytes.length; at += 1) {
          const splitter = new PacketSplitter();
          const got = [...splitter.push(bytes.subarray(0, at)), ...splitter.push(bytes.subarray(at))];
          expect(plain(got)).toEqual(packets);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('that claims the largest packet there may be is waited for, one byte more is not', () => {
    const word = Buffer.alloc(4);
    word.writeUInt32BE(maxPacketBytes);
    expect(new PacketSplitter().push(word)).toEqual([]);
    word.writeUInt32BE(maxPacketBytes + 1);
    expect(typed(() => new PacketSplitter().push(word))).toBe('refused');
  });

  test('of any kind, damaged and cut anyhow, leaves nobody waiting', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(packet, { maxLength: 6 }),
        fc.array(damage, { maxLength: 2 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 4 }),
        async (packets, changes, sizes) => {
          const daemon = new FakeDaemon();
          const connection = new RpcConnection(daemon.client, { clock: systemClock, peer: 'libvirt on testhost' });
          connection.onEvent((_, body) => readDomain(body));
          const calls = [connection.call('nodeGetInfo'), connection.openStream('domainOpenConsole', new Uint8Array())];
          const read = calls.map(async (call) => {
            const result = await call;
            if ('stream' in result) for await (const _ of result.stream.read());
          });
          const bytes = damaged(Buffer.concat(packets.map(encodePacket)), changes);
          for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
            const size = sizes[turn % sizes.length] ?? 1;
            daemon.raw(bytes.subarray(at, at + size));
            at += size;
          }
          daemon.close();
          for (const result of await Promise.allSettled(read)) {
            if (result.status === 'rejected') expect(isBringupError(result.reason), String(result.reason)).toBe(true);
          }
          await connection.closed;
        },
      ),
      { numRuns },
    );
  });
});

describe('any reply to a call', () => {
  const calls: Readonly<Record<string, (daemon: Daemon) => Promise<unknown>>> = {
    lookUp: (daemon) => daemon.lookUp('vm', {}),
    state: (daemon) => daemon.state(domain, {}),
    states: (daemon) => daemon.states({}),
    list: (daemon) => daemon.list({}),
    metadata: (daemon) => daemon.metadata(domain, 'urn:x', {}),
    define: (daemon) => daemon.define('<domain/>', {}),
    capabilities: (daemon) => daemon.capabilities({}),
    hypervisorVersion: (daemon) => daemon.hypervisorVersion({}),
    nodeInfo: (daemon) => daemon.nodeInfo({}),
    totalMemoryKb: (daemon) => daemon.totalMemoryKb({}),
    pools: ({ connection }) => new StorageCalls(connection).pools({}),
    poolSpace: ({ connection }) => new StorageCalls(connection).poolSpace(domain, {}),
    volumes: ({ connection }) => new StorageCalls(connection).volumes(domain, {}),
    volumeSpace: ({ connection }) => new StorageCalls(connection).volumeSpace(volume, {}),
    volumePath: ({ connection }) => new StorageCalls(connection).volumePath(volume, {}),
    snapshots: ({ connection }) => new DomainSnapshots({ connection, domain: async () => domain }).list('vm'),
  };

  test.for(Object.entries(calls))('of %s ends in a value or in a typed error', async ([, call]) => {
    const fake = new FakeDaemon();
    fake.serve(() => new XdrWriter().i32(0).bytes());
    const daemon = await Daemon.open(fake.client, {
      clock: systemClock,
      peer: 'libvirt on testhost',
      uri: 'qemu:///system',
      keepalive: false,
      account: undefined,
      confidential: true,
    });
    await fc.assert(
      fc.asyncProperty(
        anything,
        fc.constantFrom(packetStatus.ok, packetStatus.error, packetStatus.continue),
        async (payload, status) => {
          fake.serve(({ procedure, serial }) => {
            fake.send({ procedure, serial, status, payload });
            return undefined;
          });
          await call(daemon).catch((error: unknown) => expect(isBringupError(error), String(error)).toBe(true));
        },
      ),
      { numRuns: 200 },
    );
    // The connection has survived it all: what can't be read is one call's trouble.
    fake.serve(() => new XdrWriter().i32(1).i32(2).bytes());
    expect(await daemon.state(domain, {})).toBe('running');
    fake.close();
  });
});
