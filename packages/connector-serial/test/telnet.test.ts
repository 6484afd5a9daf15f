import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeSubnegotiation, encodeTelnet, TelnetDecoder, type TelnetCommand } from '../src/telnet-codec.ts';
import { TelnetOptions } from '../src/telnet-options.ts';

const bytes = fc.uint8Array({ maxLength: 200 }).chain((any) =>
  // What telnet treats specially must be frequent.
  fc.array(fc.constantFrom(255, 13, 10, 0, 240, 250), { maxLength: 20 }).map((special) => [...any, ...special, ...any]),
);

/** Cuts bytes into pieces, anywhere. */
function pieces(data: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [...new Set(cuts.map((cut) => cut % (data.length + 1)))].toSorted((a, b) => a - b);
  return [...at, data.length].map((end, index) => data.subarray(index === 0 ? 0 : at[index - 1], end));
}

describe('telnet', () => {
  it.each([true, false])('any bytes come back as they were, in whatever pieces they travel (binary: %s)', (binary) => {
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(1_000), { maxLength: 10 }), (data, cuts) => {
        const decoder = new TelnetDecoder();
        decoder.binary = binary;
        // Outside of binary a CR that is followed by a NUL can't be said: it means a CR.
        const said = Uint8Array.from(
          binary ? data : data.filter((byte, index) => byte !== 0 || data[index - 1] !== 13),
        );
        const heard = pieces(encodeTelnet(said, binary), cuts).flatMap((piece) => [...decoder.decode(piece).data]);
        expect(heard).toEqual([...said]);
      }),
      { numRuns: 300 },
    );
  });

  it('any subnegotiation comes back as it was, between data that is not disturbed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), fc.array(fc.nat(1_000), { maxLength: 10 }), (payload, cuts) => {
        const decoder = new TelnetDecoder();
        const stream = Buffer.concat([
          Buffer.from('be'),
          encodeSubnegotiation(44, [...payload]),
          Uint8Array.of(255, 253, 0),
          Buffer.from('fore'),
        ]);
        const decoded = pieces(stream, cuts).map((piece) => decoder.decode(piece));
        expect(Buffer.concat(decoded.map(({ data }) => data)).toString()).toBe('before');
        expect(decoded.flatMap(({ commands }) => commands)).toEqual([
          { verb: 'sub', option: 44, payload },
          { verb: 'do', option: 0 },
        ]);
      }),
      { numRuns: 200 },
    );
  });

  it('a subnegotiation that never ends takes a bounded amount of memory', () => {
    const decoder = new TelnetDecoder();
    decoder.decode(Uint8Array.of(255, 250, 44));
    for (let i = 0; i < 100; i += 1) decoder.decode(new Uint8Array(10_000));
    const { commands } = decoder.decode(Uint8Array.of(255, 240));
    expect(commands).toHaveLength(1);
    expect((commands[0] as Extract<TelnetCommand, { verb: 'sub' }>).payload.length).toBeLessThan(1_000);
  });

  it('two sides that negotiate anything fall silent', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.constantFrom('offer', 'ask'), fc.nat(5)), { maxLength: 20 }),
        fc.uniqueArray(fc.nat(5)),
        fc.uniqueArray(fc.nat(5)),
        (requests, left, right) => {
          const queue: (() => void)[] = [];
          const sides: TelnetOptions[] = [];
          const connect = (to: number) => (sent: Uint8Array) => {
            const [, verb = 0, option = 0] = sent;
            const name = { 251: 'will', 252: 'wont', 253: 'do', 254: 'dont' }[verb] as 'will' | 'wont' | 'do' | 'dont';
            queue.push(() => sides[to]?.hear({ verb: name, option }));
          };
          sides.push(new TelnetOptions({ ours: left, theirs: right }, connect(1)));
          sides.push(new TelnetOptions({ ours: right, theirs: left }, connect(0)));
          for (const [first, act, option] of requests) sides[first ? 0 : 1]?.[act as 'offer' | 'ask'](option);
          let turns = 0;
          for (let act = queue.shift(); act !== undefined; act = queue.shift()) {
            act();
            turns += 1;
            if (turns > 1_000) break;
          }
          expect(turns).toBeLessThanOrEqual(1_000);
        },
      ),
      { numRuns: 200 },
    );
  });
});
