import { createHash } from 'node:crypto';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConsoleSession, isBringupError, limits, type BringupError, type ByteSource } from '@bringup/core';
import { fakeClock, memoryConsole, memoryLab, MemoryLine } from '@bringup/core/testing';
import { parseVitals, utilizationOf } from '../src/health/vitals.ts';
import { sendYmodem } from '../src/consoles/ymodem.ts';
import { Qmp } from '../src/local/qmp.ts';
import { parseBlockMap } from '../src/model/block-map.ts';
import { probeBoard } from '../src/pool/peripherals.ts';
import { probeFacts, probeNetwork, probeToolchains, type CommandRunner } from '../src/pool/probe.ts';
import { signedBlockMap } from './support/block-map.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** What a call ends in: whatever comes from outside, nothing but our own errors are thrown. */
async function typed<T>(act: () => T | Promise<T>): Promise<T | BringupError> {
  try {
    return await act();
  } catch (error) {
    expect(isBringupError(error), String((error as Error).stack)).toBe(true);
    return error as BringupError;
  }
}

/** Lines that are put together from what belongs into them, and from what does not. */
function lines(...words: readonly string[]): fc.Arbitrary<string> {
  const odd = fc.constantFrom(
    '',
    ' ',
    '\t',
    '-1',
    '0',
    '1e999',
    'NaN',
    '9'.repeat(400),
    '\0',
    '\u001b[2J',
    '\r',
    'x'.repeat(5_000),
    'é',
    '__proto__',
  );
  const word = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...words) },
    odd,
    fc.string({ unit: 'binary', maxLength: 6 }),
  );
  const line = fc
    .tuple(fc.array(word, { maxLength: 7 }), fc.constantFrom(' ', '\t'))
    .map(([parts, gap]) => parts.join(gap));
  return fc.array(line, { maxLength: 12 }).map((all) => all.join('\n'));
}

/** A machine that prints that, whatever it is asked. */
const machine = (output: string): CommandRunner => ({
  exec: async () => ({ exitCode: 0, signal: null, stdout: Buffer.from(output), stderr: Buffer.alloc(0) }),
});

/** Texts of a machine get into records, pages and terminals. */
function expectPlain(value: unknown): void {
  const text = JSON.stringify(value);
  expect(text.length).toBeLessThan(1_000_000);
  // An escape that is quoted is plain text: before its backslash there is another one.
  // oxlint-disable-next-line no-control-regex -- these must not be there
  expect(text).not.toMatch(/(?<!\\)(?:\\\\)*\\(?:u00[01][0-9a-f]|[rnbf])|[\u0080-\u009f]/);
}

describe('what a machine says of itself', () => {
  test('are facts within bounds, or an error', async () => {
    const said = lines(
      'machine',
      'x86_64',
      'kernel',
      '6.1.0',
      'cpus',
      '8',
      'memory_kb',
      '1000',
      'free_kb',
      '77',
      'workspace',
      '/w',
    );
    const whole = 'machine x86_64\nkernel 6.1\ncpus 4\nmemory_kb 4096\nfree_kb 99\nworkspace /w\n';
    await fc.assert(
      fc.asyncProperty(said, fc.boolean(), async (text, real) => {
        const facts = await typed(() => probeFacts(machine(real ? `${whole}${text}` : text), undefined));
        if (facts instanceof Error) return;
        for (const amount of [facts.cpuCores, facts.memoryMb, facts.freeGb]) {
          expect(Number.isFinite(amount) && amount >= 0, String(amount)).toBe(true);
        }
        expect(Number.isSafeInteger(facts.cpuCores)).toBe(true);
        expect(facts.workspace).toMatch(/^\//);
        expectPlain(facts);
      }),
      { numRuns: 500 },
    );
  });

  test('are compilers, interfaces and peripherals in bounded numbers', async () => {
    const said = lines(
      'gcc',
      'clang',
      '/usr/bin/gcc',
      '12.2.0',
      'x86_64-linux-gnu',
      'link',
      'eth0',
      'up',
      'address',
      '10.0.0.1/8',
      'node',
      'usb',
      'net',
      'can0',
      'pci',
      '0x10',
      'class',
      'serial',
      'model',
    );
    await fc.assert(
      fc.asyncProperty(said, async (text) => {
        for (const probe of [probeToolchains, probeNetwork, probeBoard])
          expectPlain(await typed<unknown>(() => probe(machine(text))));
      }),
      { numRuns: 500 },
    );
    const many = (line: (at: number) => string): CommandRunner =>
      machine(Array.from({ length: 50_000 }, (_, at) => line(at)).join('\n'));
    expectPlain(await probeToolchains(many((at) => `gcc-${at}\t/bin/gcc-${at}\t${at}\tx86_64-linux-gnu`)));
    expectPlain(await probeNetwork(many((at) => `link\teth${at}\tup\t\t`)));
    expectPlain(await probeNetwork(many((at) => (at === 0 ? 'link\teth0\tup\t\t' : `address\teth0\t${at}`))));
    expectPlain(await probeBoard(many((at) => `usb ${at}`)));
  });

  test('are vitals that can be reckoned with, or none', () => {
    const whole = 'kernel 6.1\ncpu 10 100\nmemory_kb 100 50\nstorage_kb 10 20\nnetwork 1 2\ncompilers 0\n';
    const said = lines('cpu', '10', '100', 'memory_kb', 'storage_kb', 'network', 'compilers', 'millidegrees', 'kernel');
    fc.assert(
      fc.property(said, fc.boolean(), (text, real) => {
        const vitals = parseVitals(real ? `${text}\n${whole}` : text);
        if (vitals === undefined) return;
        expectPlain(vitals);
        for (const [name, value] of Object.entries(utilizationOf(vitals))) {
          expect(Number.isFinite(value), name).toBe(true);
          if (name.endsWith('Percent')) expect(value).toBeLessThanOrEqual(100);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('a peer of QMP that says anything', () => {
  const value = fc.jsonValue({ maxDepth: 2 });
  const message = fc.oneof(
    fc.string({ maxLength: 30 }),
    value.map((json) => JSON.stringify(json)),
    fc
      .record(
        { id: fc.constantFrom(1, 2, '1', null, {}), return: value, error: value, event: value, QMP: value },
        { requiredKeys: [] },
      )
      .map((json) => JSON.stringify(json)),
  );

  test('is answered with a value or a typed error, and takes nobody down', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 8 }), fc.integer({ min: 1, max: 200 }), async (messages, cut) => {
        const [near, far] = duplexPair();
        const sent = new Set<number>();
        far.on('error', () => undefined);
        // Each command is answered in the end, if it was not before.
        far.on('data', (chunk: Buffer) => {
          for (const [, id] of chunk.toString().matchAll(/"id":(\d+)/g)) {
            sent.add(Number(id));
            const bytes = Buffer.from(`${messages.join('\n')}\n{"id":${id},"return":{}}\n`);
            for (let at = 0; at < bytes.length; at += cut) far.write(bytes.subarray(at, at + cut));
          }
        });
        far.write('{"QMP":{}}\n');
        const qmp = await typed(() => Qmp.open(near, new AbortController().signal));
        if (!(qmp instanceof Error)) {
          const events: unknown[] = [];
          qmp.onEvent((event) => void events.push(event));
          const said = await typed(() => qmp.execute('query-status'));
          if (said instanceof Error) expect(said.message.length).toBeLessThan(2_000);
          for (const event of events) expect(typeof event).toBe('string');
          qmp[Symbol.dispose]();
        }
        expect(sent).toContain(1);
        far.destroy();
      }),
      { numRuns: 300 },
    );
  });

  test('without a line end is hung up on, and its reasons are cut', async () => {
    const [near, far] = duplexPair();
    far.on('error', () => undefined).resume();
    const opening = typed(() => Qmp.open(near, new AbortController().signal));
    const more = (): void => void far.write(Buffer.alloc(65_536, 'x'), (error) => error ?? (far.destroyed || more()));
    more();
    expect(await opening).toMatchObject({ code: 'connection-lost' });
    far.destroy();
  });
});

describe('a block map', () => {
  const pieces = fc.constantFrom(
    ...[
      '<!--',
      '-->',
      '<Range',
      '<Range chksum="',
      '>',
      '</Range>',
      '<bmap version="2.0">',
      '<BlockMap>',
      '0-1',
      '5',
      '-',
      '"',
    ],
    ...[
      '<ImageSize>',
      '</ImageSize>',
      '4096',
      '<BlockSize>',
      '</BlockSize>',
      '<ChecksumType>sha256</ChecksumType>',
      ' ',
    ],
    ...[
      '<MappedBlocksCount>',
      '</MappedBlocksCount>',
      '999999999999999999',
      '1e30',
      '-1',
      sha256(''),
      '\0',
      '\u001b[2J',
    ],
  );

  test('of any text, also one that vouches for itself, is a map within its image or refused in few words', async () => {
    const whole = `<?xml version="1.0" ?><bmap version="2.0"><ImageSize> 8192 </ImageSize><BlockSize> 4096 </BlockSize>
      <BlocksCount> 2 </BlocksCount><MappedBlocksCount> 1 </MappedBlocksCount><ChecksumType> sha256 </ChecksumType>
      <BmapFileChecksum> ${'0'.repeat(64)} </BmapFileChecksum><BlockMap><Range chksum="${sha256('x')}"> 1 </Range></BlockMap></bmap>`;
    await fc.assert(
      fc.asyncProperty(
        fc.array(pieces, { maxLength: 40 }),
        fc.nat(whole.length),
        fc.boolean(),
        async (parts, at, real) => {
          const text = real ? whole.slice(0, at) + parts.slice(0, 2).join('') + whole.slice(at) : parts.join('');
          for (const given of [text, signedBlockMap(text)]) {
            const map = await typed(() => parseBlockMap(given));
            if (map instanceof Error) {
              expect(map.code).toBe('invalid-input');
              expect(map.message.length).toBeLessThan(500);
              expectPlain(map.message);
            } else {
              for (const { offsetBytes, sizeBytes } of map.ranges)
                expect(offsetBytes + sizeBytes).toBeLessThanOrEqual(map.imageBytes);
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test.for(['<!--', '<Range', '<Range chksum="', '<bmap version="', '<bmap ', ' ', '<', '<ImageSize>'])(
    'that says %j as often as it can is refused in time that grows with its length alone',
    async (piece) => {
      const start = '<bmap version="2.0"><ChecksumType>sha256</ChecksumType>';
      for (const before of ['', start]) {
        const text = before + piece.repeat((limits.blockMapBytes - before.length) / piece.length);
        expect(await typed(() => parseBlockMap(text))).toMatchObject({ code: 'invalid-input' });
      }
    },
  );
});

describe('a receiver of YMODEM', () => {
  const source = (bytes: number): ByteSource => ({
    sizeBytes: bytes,
    read: async function* () {
      yield Buffer.alloc(bytes, 'x');
    },
  });

  async function sending(answer: (line: MemoryLine) => Promise<void>): Promise<void | BringupError> {
    const clock = fakeClock();
    const connector = memoryConsole({ clock });
    const line = new MemoryLine('board');
    connector.attach('tty', line);
    await using console = await connector.open({ name: 'board', device: 'tty', baudRate: 115_200 });
    await using session = new ConsoleSession({ console, clock });
    void answer(line);
    return await clock.runUntil(typed(() => sendYmodem(session, source(1_500), {})));
  }

  test('that answers anything has the file, or there is a typed error', async () => {
    const byte = fc.oneof(fc.constantFrom(0x06, 0x06, 0x06, 0x15, 0x18, 0x43, 0x43), fc.integer({ min: 0, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(byte, { maxLength: 40 }), async (bytes) => {
        const result = await sending(async (line) => {
          line.say(Uint8Array.of(0x43));
          let at = 0;
          for await (const _frame of line.input()) if (at < bytes.length) line.say(Uint8Array.of(bytes[at++] ?? 0));
        });
        if (result instanceof Error) expect(result.code).toBe('transfer-failed');
      }),
      { numRuns: 100 },
    );
  });

  test.each([0x43, 0x00, 0x15])('that says %i without end is given up (L-ymodemNoiseBytes)', async (byte) => {
    const result = await sending(async (line) => {
      for (let said = 0; said < 10_000 && !line.ended; said += 1) {
        line.say(Buffer.alloc(1_024, byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    expect(result).toMatchObject({ code: 'transfer-failed' });
  });
});

describe('a page', () => {
  test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null])('of %s entries is refused', async (limit) => {
    await using lab = await memoryLab();
    const page = { limit } as { readonly limit: number };
    for (const list of [
      () => lab.boards.getAllBoards(page as never),
      () => lab.alerts.list(page),
      () => lab.pipelines.getPipelineHistory(page as never),
      () => lab.builds.getBuildHistory(page as never),
    ]) {
      expect(await typed(list as () => Promise<unknown>)).toMatchObject({ code: 'invalid-input' });
    }
  });

  test('after anything is empty or goes on, and breaks nothing', async () => {
    await using lab = await memoryLab();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\0', "' or 1=1 --", '%', '🦀')),
        async (after) => {
          expect(await typed(() => lab.alerts.list({ after } as never))).toEqual([]);
          expect(await typed(() => lab.boards.getAllBoards({ after } as never))).toEqual([]);
        },
      ),
      { numRuns: 100 },
    );
  });
});
