import { openConsole, type HypervisorHarness } from './hypervisor-contract-harness.ts';
import { failure } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** What a VM's console says, to whom, and who may answer. */
export function hypervisorConsoleContract(harness: HypervisorHarness): void {
  const { describe, expect, test } = testFramework().vitest;

  describe('console', () => {
    test('begins with the first byte the guest says, however late it is opened', async () => {
      const hypervisor = await harness.session();
      const early = await harness.greetedVm(hypervisor);
      await early.console[Symbol.asyncDispose]();
      const late = await openConsole(hypervisor, early.name);
      expect(await late.reader.until('\r\n')).toBe(early.reader.text);
      expect(late.reader.text.startsWith(harness.fixture.greeting)).toBe(true);
    });

    test('carries input to the guest, every byte of it in order', async () => {
      const { fixture } = harness;
      const { reader, console } = await harness.greetedVm(await harness.session());
      const greeted = reader.bytes.length;
      const sent = Uint8Array.from({ length: 256 }, (_, byte) => byte).filter(
        (byte) => byte !== fixture.quit.charCodeAt(0),
      );
      for (const byte of sent) await console.write(Uint8Array.of(byte));
      await reader.until(String.fromCharCode(...sent.subarray(-8)));
      expect(reader.bytes.subarray(greeted)).toEqual(Buffer.from(sent));
    });

    test('goes on from any offset with no gap and no repeat while the guest goes on talking', async () => {
      const hypervisor = await harness.session();
      const first = await harness.greetedVm(hypervisor);
      const numbers = Array.from({ length: 400 }, (_, index) => `${index};`);
      await first.say(numbers.slice(0, 200).join(''));
      await first.reader.until('199;');
      await first.console[Symbol.asyncDispose]();
      const seen = first.reader.bytes;
      const offset = seen.length - 70;
      const second = await openConsole(hypervisor, first.name, { offset });
      await second.say(`${numbers.slice(200).join('')}end`);
      await second.reader.until('end');
      const whole = seen.subarray(0, offset).toString('latin1') + second.reader.text;
      expect(whole.slice(whole.indexOf('0;'))).toBe(`${numbers.join('')}end`);
    });

    test('opened while the guest begins to talk, it gives every byte from its offset on once', async () => {
      const hypervisor = await harness.session();
      const { name } = await hypervisor.createVm(harness.spec());
      const [, { reader, console }] = await Promise.all([hypervisor.startVm(name), openConsole(hypervisor, name)]);
      const line = await reader.until('\r\n');
      await console[Symbol.asyncDispose]();
      const { reader: whole } = await openConsole(hypervisor, name);
      expect(line).toBe(await whole.until('\r\n'));
      expect(line.startsWith(harness.fixture.greeting)).toBe(true);
    });

    test('an offset beyond what was ever said is history the host does not have', async () => {
      const hypervisor = await harness.session();
      const { name, reader, console } = await harness.greetedVm(hypervisor);
      await console[Symbol.asyncDispose]();
      await failure(hypervisor.openConsole(name, { offset: reader.bytes.length + 1 }), 'console-history-lost');
    });

    test('is one holder’s at a time, within a session and between sessions', async () => {
      const [one, other] = [await harness.session(), await harness.session()];
      const { name, console } = await harness.greetedVm(one);
      await failure(one.openConsole(name), 'console-busy');
      await failure(other.openConsole(name), 'console-busy');
      await console[Symbol.asyncDispose]();
      const next = await openConsole(other, name);
      await next.say('mine now');
      await next.reader.until('mine now');
    });

    test('a refused opener does not disturb the holder', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say } = await harness.greetedVm(hypervisor);
      await failure(hypervisor.openConsole(name), 'console-busy');
      await say('still here');
      await reader.until('still here');
    });

    test('ends when the guest ends, after the last byte', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say } = await harness.greetedVm(hypervisor);
      await say(`last words${harness.fixture.quit}`);
      await reader.ended;
      expect(reader.text.endsWith('last words')).toBe(true);
      expect((await hypervisor.getVm(name))?.state).toBe('stopped');
    });

    test('can be read in full after the guest has ended, and takes no input any more', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say, console } = await harness.greetedVm(hypervisor);
      await say(`last words${harness.fixture.quit}`);
      await reader.ended;
      await console[Symbol.asyncDispose]();
      const after = await openConsole(hypervisor, name);
      await after.reader.ended;
      expect(after.reader.text).toBe(reader.text);
      await failure(after.say('hello?'), 'console-closed');
    });

    test('ends when the VM is destroyed', async () => {
      const hypervisor = await harness.session();
      const { name, reader } = await harness.greetedVm(hypervisor);
      await hypervisor.destroyVm(name);
      await reader.ended;
    });

    test('ends its output, refuses input and frees its place when it is disposed, twice too', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say, console } = await harness.greetedVm(hypervisor);
      await console[Symbol.asyncDispose]();
      await console[Symbol.asyncDispose]();
      await reader.ended;
      await failure(say('hello?'), 'console-closed');
      await openConsole(hypervisor, name);
    });

    test('is freed when the session that opened it is disposed', async () => {
      const hypervisor = await harness.fixture.connect();
      const { name } = await harness.greetedVm(hypervisor);
      await hypervisor[Symbol.asyncDispose]();
      await openConsole(await harness.session(), name);
    });

    test('leaving the output’s loop leaves the console usable for input', async () => {
      const hypervisor = await harness.session();
      const { name } = await hypervisor.createVm(harness.spec());
      const console = await hypervisor.openConsole(name);
      await hypervisor.startVm(name);
      for await (const _ of console.output) break;
      await console.write(new TextEncoder().encode(`after the loop${harness.fixture.quit}`));
      await console[Symbol.asyncDispose]();
      const again = await openConsole(hypervisor, name);
      await again.reader.until('after the loop');
    });

    test('of a VM that does not exist is not found', async () => {
      await failure((await harness.session()).openConsole(harness.spec().name), 'not-found');
    });
  });
}
