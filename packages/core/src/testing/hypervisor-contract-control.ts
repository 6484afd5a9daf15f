import type { Hypervisor } from '../contracts/hypervisor.ts';
import { follow, openConsole, type HypervisorHarness } from './hypervisor-contract-harness.ts';
import { eventually, failure } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** What is done to a guest from outside: its reset button, its NMI, a look at its display. */
export function hypervisorControlContract(harness: HypervisorHarness): void {
  const { describe, expect, test } = testFramework().vitest;

  const controls: readonly ((hypervisor: Hypervisor, name: string) => Promise<unknown>)[] = [
    (hypervisor, name) => hypervisor.resetVm(name),
    (hypervisor, name) => hypervisor.injectNmi(name),
    (hypervisor, name) => hypervisor.screenshot(name),
  ];

  describe('controlling a guest', () => {
    test('a reset boots it anew in its VM, on the console that is open, and only this once', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say, console } = await harness.greetedVm(hypervisor);
      const greeting = reader.text;
      const told = await follow(await harness.session(), name);
      await hypervisor.resetVm(name);
      await reader.until(greeting + greeting);
      await eventually(async () => told.types.includes('rebooted'));
      expect((await hypervisor.getVm(name))?.state).toBe('running');
      await say('alive');
      await reader.until('alive');
      // The guest's own resets still end the VM: a silent one would pass for a boot.
      await say(harness.fixture.quit);
      await reader.ended;
      expect((await hypervisor.getVm(name))?.state).toBe('stopped');
      await console[Symbol.asyncDispose]();
      const later = await openConsole(hypervisor, name);
      await later.reader.ended;
      expect(later.reader.text).toBe(`${greeting}${greeting}alive`);
      told.leave();
    });

    test('an NMI reaches it; a screenshot there is only of a display', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say } = await harness.greetedVm(hypervisor);
      await failure(hypervisor.screenshot(name), 'unsupported');
      await say('unharmed');
      await reader.until('unharmed');
      // An NMI for which this guest has no handler: its machine resets, which is the end of its VM.
      await hypervisor.injectNmi(name);
      await reader.ended;
      expect((await hypervisor.getVm(name))?.state).toBe('stopped');
    });

    test('a screenshot is an image of the kind it says', async () => {
      const hypervisor = await harness.session();
      const { name } = await harness.greetedVm(hypervisor, { display: true });
      const { mimeType, image } = await hypervisor.screenshot(name);
      const starts: Record<string, string> = { 'image/png': '\u0089PNG\r\n', 'image/x-portable-pixmap': 'P6\n' };
      expect(Object.keys(starts)).toContain(mimeType);
      expect(
        Buffer.from(image)
          .toString('latin1')
          .startsWith(starts[mimeType] ?? '?'),
      ).toBe(true);
    });

    test('none of it is done to a VM that does not run, or is not there', async () => {
      const hypervisor = await harness.session();
      const spec = harness.spec();
      for (const control of controls) await failure(control(hypervisor, spec.name), 'not-found');
      await hypervisor.createVm(spec);
      for (const control of controls) await failure(control(hypervisor, spec.name), 'hypervisor-failed');
      expect((await hypervisor.getVm(spec.name))?.state).toBe('paused');
    });
  });
}
