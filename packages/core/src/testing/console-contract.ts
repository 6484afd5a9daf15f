import type { Console } from '../contracts/console.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { isBringupError } from '../errors.ts';
import { ConsoleReader } from './console-reader.ts';
import { failure } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** One serial console to run the suite against, seen from both of its ends. */
export interface ConsoleContractFixture {
  /** Opens the console, as `ConsoleConnector.open` does. */
  readonly open: (options?: CallOptions) => Promise<Console>;
  /** The machine says these bytes; resolves when they have left it. */
  readonly say: (bytes: Uint8Array) => void | Promise<void>;
  /** Waits until the machine has received so many bytes since the fixture was made, and gives them. */
  readonly received: (count: number) => Promise<Uint8Array>;
  /** Breaks the way to the machine while the console is open: a cable pulled, an exporter that dies. */
  readonly cut?: () => void | Promise<void>;
  /** How many serial breaks the machine has seen; absent where the carrier can't send one. */
  readonly breaks?: () => number | Promise<number>;
  /** Takes everything down. */
  readonly dispose: () => Promise<void>;
}

/** What {@link consoleContract} is given. */
export interface ConsoleContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Called for each test. */
  readonly setup: () => Promise<ConsoleContractFixture>;
}

/**
 * Registers the vitest suite that every console of a `ConsoleConnector` passes. A fixture that can't
 * break the way to the machine skips the test of it.
 * @throws `dependency-missing` outside a vitest run.
 */
export function consoleContract({ name, setup }: ConsoleContractOptions): void {
  const { describe, expect, it, beforeEach, afterEach } = testFramework().vitest;

  describe(`console contract: ${name}`, () => {
    let fixture: ConsoleContractFixture;
    const opened: Console[] = [];
    const open = async (options?: CallOptions): Promise<Console> => {
      const console = await fixture.open(options);
      opened.push(console);
      return console;
    };
    const openOnceFree = async (): Promise<Console> => {
      for (;;) {
        try {
          return await open();
        } catch (error) {
          if (!isBringupError(error, 'console-busy')) throw error;
          await new Promise(setImmediate);
        }
      }
    };
    const text = (said: string): Uint8Array => new TextEncoder().encode(said);
    const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte);

    beforeEach(async () => {
      fixture = await setup();
    });
    afterEach(async () => {
      for (const console of opened.splice(0)) await console[Symbol.asyncDispose]();
      await fixture.dispose();
    });

    it('gives what the machine says, every byte of it in order', async () => {
      const reader = new ConsoleReader(await open());
      await fixture.say(everyByte);
      await fixture.say(text('the end'));
      await reader.until('the end');
      expect(reader.bytes.subarray(0, 256)).toEqual(Buffer.from(everyByte));
    });

    it('carries input to the machine, every byte of it in order', async () => {
      const console = await open();
      for (let at = 0; at < everyByte.length; at += 16) await console.write(everyByte.subarray(at, at + 16));
      expect(Buffer.from(await fixture.received(256))).toEqual(Buffer.from(everyByte));
    });

    it('begins now: what was said before it was opened is not heard', async () => {
      await fixture.say(text('long ago '));
      const reader = new ConsoleReader(await open());
      await fixture.say(text('just now.'));
      expect(await reader.until('just now.')).toBe('just now.');
    });

    it('opened again it begins now again', async () => {
      const first = await open();
      const early = new ConsoleReader(first);
      await fixture.say(text('one.'));
      await early.until('one.');
      await first[Symbol.asyncDispose]();
      await fixture.say(text('between.'));
      const late = new ConsoleReader(await open());
      await fixture.say(text('two.'));
      expect(await late.until('two.')).toBe('two.');
    });

    it('is one holder’s at a time, and a refused opener does not disturb the holder', async () => {
      const console = await open();
      const reader = new ConsoleReader(console);
      expect(await failure(fixture.open(), 'console-busy')).toHaveProperty('retryable', true);
      await fixture.say(text('still here'));
      await reader.until('still here');
      await console[Symbol.asyncDispose]();
      const next = new ConsoleReader(await open());
      await fixture.say(text('mine now'));
      await next.until('mine now');
    });

    it('ends its output, refuses input and frees its place when it is disposed, twice too', async () => {
      const console = await open();
      const reader = new ConsoleReader(console);
      await console[Symbol.asyncDispose]();
      await console[Symbol.asyncDispose]();
      await reader.ended;
      await failure(console.write(text('hello?')), 'console-closed');
      await open();
    });

    it('may be iterated once', async () => {
      const { output } = await open();
      output[Symbol.asyncIterator]();
      expect(() => output[Symbol.asyncIterator]()).toThrow(TypeError);
    });

    it('leaving the output’s loop leaves the console usable for input', async () => {
      const console = await open();
      const left = (async () => {
        for await (const _ of console.output) break;
      })();
      await fixture.say(text('x'));
      await left;
      await console.write(text('after the loop'));
      expect(Buffer.from(await fixture.received(14)).toString()).toBe('after the loop');
    });

    it('with an aborted signal it is not opened, and nobody holds it', async () => {
      await failure(fixture.open({ signal: AbortSignal.abort() }), 'aborted');
      await open();
    });

    it('aborted at any moment while it is opened, nobody holds it', async () => {
      for (let turns = 0; turns < 100; turns = 2 * turns + 1) {
        const abort = new AbortController();
        const opening = fixture.open({ signal: abort.signal }).then(
          (console) => console[Symbol.asyncDispose](),
          (error: unknown) => expect(error).toHaveProperty('code', expect.stringMatching(/^(aborted|console-busy)$/)),
        );
        for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
        abort.abort();
        await opening;
      }
      // The other side may need a moment to see that the last one has gone.
      const console = await openOnceFree();
      await console.write(text('here'));
      expect(Buffer.from(await fixture.received(4)).toString()).toBe('here');
    });

    it('with an aborted signal nothing is written', async () => {
      const console = await open();
      await failure(console.write(text('not this'), { signal: AbortSignal.abort() }), 'aborted');
      await console.write(text('but this'));
      expect(Buffer.from(await fixture.received(8)).toString()).toBe('but this');
    });

    it('when the way to the machine breaks, output and input fail with connection-lost', async ({ skip }) => {
      if (fixture.cut === undefined) return skip('the fixture can’t break the way to the machine');
      const console = await open();
      const reader = new ConsoleReader(console);
      await fixture.say(text('last words'));
      await reader.until('last words');
      await fixture.cut();
      expect(await failure(reader.ended, 'connection-lost')).toHaveProperty('retryable', true);
      await failure(console.write(text('hello?')), 'connection-lost');
      await console[Symbol.asyncDispose]();
    });

    it('sends a serial break, or says that its carrier can’t', async () => {
      const console = await open();
      if (fixture.breaks !== undefined) {
        await console.sendBreak?.();
        expect(await fixture.breaks()).toBe(1);
        return;
      }
      const unsupported = (error: unknown): unknown => expect(error).toHaveProperty('code', 'unsupported');
      await console.sendBreak?.().catch(unsupported);
    });
  });
}
