import type { Hypervisor } from '../contracts/hypervisor.ts';
import { follow, openConsole, type HypervisorHarness } from './hypervisor-contract-harness.ts';
import { eventually, failure } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** How VMs come, run and go; what outlives a session; what goes wrong and how it is said. */
export function hypervisorLifeContract(harness: HypervisorHarness): void {
  const { describe, expect, test } = testFramework().vitest;

  test('capabilities name a version, real resources and the architecture of the guest', async () => {
    const capabilities = await (await harness.session()).capabilities();
    expect(capabilities.version).not.toBe('');
    expect(capabilities.architectures).toContain(harness.fixture.spec.architecture);
    expect(capabilities.cpuCores).toBeGreaterThan(0);
    expect(capabilities.memoryMb).toBeGreaterThan(0);
  });

  describe('creating', () => {
    test('leaves the VM paused and silent until it is started', async () => {
      const hypervisor = await harness.session();
      const spec = harness.spec();
      expect(await hypervisor.createVm(spec)).toEqual({ name: spec.name, state: 'paused', tags: spec.tags });
      const { reader } = await openConsole(hypervisor, spec.name);
      expect((await hypervisor.getVm(spec.name))?.state).toBe('paused');
      expect(reader.text).toBe('');
      await hypervisor.startVm(spec.name);
      await reader.until('\r\n');
      expect((await hypervisor.getVm(spec.name))?.state).toBe('running');
    });

    test('hands the command line to the kernel as it is', async () => {
      const commandLine = 'console=ttyS0 a="b c" d=<e>&f,g,,h i=$(j);k \'l\' %m \\n';
      const { reader } = await harness.greetedVm(await harness.session(), { commandLine });
      expect(reader.text.startsWith(harness.fixture.greeting)).toBe(true);
      expect(reader.text.endsWith(`${commandLine}\r\n`)).toBe(true);
    });

    test('keeps tags of any text with the VM', async () => {
      const hypervisor = await harness.session();
      const tags = { reservation: 'r-1', note: 'a<b> & "c" \'d\' ü', empty: '' };
      const { name } = await hypervisor.createVm(harness.spec({ tags }));
      expect((await hypervisor.getVm(name))?.tags).toEqual(tags);
    });

    test('a name that is taken is a conflict, and the VM that has it is left alone', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say } = await harness.greetedVm(hypervisor);
      await failure(hypervisor.createVm({ ...harness.spec(), name }), 'conflict');
      await say('unharmed');
      await reader.until('unharmed');
    });

    test('of two creators of one name, one wins', async () => {
      const [one, other] = [await harness.session(), await harness.session()];
      const spec = harness.spec();
      const results = await Promise.allSettled([one.createVm(spec), other.createVm(spec)]);
      expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      const refused = results.find((result) => result.status === 'rejected');
      await failure(Promise.reject(refused?.reason as Error), 'conflict');
      expect((await one.getVm(spec.name))?.state).toBe('paused');
    });

    test('with a kernel that does not exist fails, says which, and leaves nothing', async () => {
      const hypervisor = await harness.session();
      const spec = harness.spec({ kernel: '/nonexistent/bzImage-of-nobody' });
      const error = await failure(hypervisor.createVm(spec), 'hypervisor-failed');
      expect(error.message).toContain('bzImage-of-nobody');
      expect(await hypervisor.getVm(spec.name)).toBeUndefined();
      expect((await hypervisor.createVm({ ...spec, kernel: harness.fixture.spec.kernel })).state).toBe('paused');
    });

    test.for(['', '../escape', 'a/b', '-x', '.hidden', 'a b', 'a\n'])('the name %j is not valid', async (name) => {
      await failure((await harness.session()).createVm({ ...harness.spec(), name }), 'invalid-input');
    });

    test('paths that are not absolute are not valid', async () => {
      const error = await failure(
        (await harness.session()).createVm(harness.spec({ kernel: 'bzImage' })),
        'invalid-input',
      );
      expect(error.message).toContain('kernel');
    });

    test('aborted under way, it ends with aborted and leaves nothing that destroying does not remove', async () => {
      const hypervisor = await harness.session();
      const spec = harness.spec();
      const controller = new AbortController();
      const creating = hypervisor.createVm(spec, { signal: controller.signal });
      controller.abort();
      await failure(creating, 'aborted');
      await hypervisor.destroyVm(spec.name);
      expect(await hypervisor.getVm(spec.name)).toBeUndefined();
      expect((await hypervisor.createVm(spec)).state).toBe('paused');
    });
  });

  describe('starting', () => {
    test('a VM that runs already changes nothing', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say } = await harness.greetedVm(hypervisor);
      await hypervisor.startVm(name);
      await say('one guest');
      const [line, rest] = (await reader.until('one guest')).split('\r\n');
      expect(line?.startsWith(harness.fixture.greeting)).toBe(true);
      expect(rest).toBe('one guest');
    });

    test('a VM that has ended is refused', async () => {
      const hypervisor = await harness.session();
      const { name, reader, say } = await harness.greetedVm(hypervisor);
      await say(harness.fixture.quit);
      await reader.ended;
      await failure(hypervisor.startVm(name), 'hypervisor-failed');
    });

    test('a VM that does not exist is not found', async () => {
      await failure((await harness.session()).startVm(harness.spec().name), 'not-found');
    });
  });

  describe('destroying', () => {
    test.for(['paused', 'running', 'stopped'] as const)('ends and removes a %s VM, twice too', async (state) => {
      const hypervisor = await harness.session();
      const spec = harness.spec();
      if (state === 'paused') await hypervisor.createVm(spec);
      else {
        const { reader, say } = await harness.greetedVm(hypervisor, { name: spec.name });
        if (state === 'stopped') await say(harness.fixture.quit).then(() => reader.ended);
      }
      expect((await hypervisor.getVm(spec.name))?.state).toBe(state);
      await hypervisor.destroyVm(spec.name);
      await hypervisor.destroyVm(spec.name);
      expect(await hypervisor.getVm(spec.name)).toBeUndefined();
      expect((await hypervisor.listVms()).map(({ name }) => name)).not.toContain(spec.name);
      expect((await hypervisor.createVm(spec)).state).toBe('paused');
    });

    test('a VM that never was is fine', async () => {
      await (await harness.session()).destroyVm(harness.spec().name);
    });
  });

  describe('a new session', () => {
    test('finds the VMs of an earlier one and goes on with the console where that one stopped', async () => {
      const earlier = await harness.fixture.connect();
      const { name, reader, say } = await harness.greetedVm(earlier);
      await say('before;');
      await reader.until('before;');
      await earlier[Symbol.asyncDispose]();

      const later = await harness.session();
      expect((await later.listVms()).find((vm) => vm.name === name)).toEqual({
        name,
        state: 'running',
        tags: { reservation: `r-${name}` },
      });
      const console = await openConsole(later, name, { offset: reader.bytes.length });
      await console.say('after;');
      expect(await console.reader.until('after;')).toBe('after;');
    });

    test('starts a VM that an earlier one created', async () => {
      const earlier = await harness.fixture.connect();
      const { name } = await earlier.createVm(harness.spec());
      await earlier[Symbol.asyncDispose]();
      const later = await harness.session();
      await later.startVm(name);
      await (await openConsole(later, name)).reader.until('\r\n');
    });
  });

  describe('events', () => {
    test('tell the life of a VM in order, to a session that did not cause it', async () => {
      const [watcher, actor] = [await harness.session(), await harness.session()];
      const spec = harness.spec();
      const told = await follow(watcher, spec.name);
      const { reader, say } = await harness.greetedVm(actor, { name: spec.name });
      await eventually(async () => told.types.includes('started'));
      await say(harness.fixture.quit);
      await reader.ended;
      await eventually(async () => told.types.includes('stopped'));
      await actor.destroyVm(spec.name);
      await eventually(async () => told.types.includes('removed'));
      expect(told.types).toEqual(['created', 'started', 'stopped', 'removed']);
      told.leave();
    });

    test('end with the session', async () => {
      const hypervisor = await harness.fixture.connect();
      const told = await follow(hypervisor, harness.spec().name);
      await hypervisor[Symbol.asyncDispose]();
      await told.ended;
    });

    test('end with aborted when the signal is', async () => {
      const controller = new AbortController();
      const told = await follow(await harness.session(), harness.spec().name, controller.signal);
      controller.abort();
      await failure(told.ended, 'aborted');
    });
  });

  describe('calls and sessions', () => {
    const calls: Record<string, (hypervisor: Hypervisor, signal: AbortSignal) => Promise<unknown>> = {
      capabilities: (hypervisor, signal) => hypervisor.capabilities({ signal }),
      listVms: (hypervisor, signal) => hypervisor.listVms({ signal }),
      getVm: (hypervisor, signal) => hypervisor.getVm('any', { signal }),
      createVm: (hypervisor, signal) => hypervisor.createVm(harness.spec(), { signal }),
      startVm: (hypervisor, signal) => hypervisor.startVm('any', { signal }),
      resetVm: (hypervisor, signal) => hypervisor.resetVm('any', { signal }),
      injectNmi: (hypervisor, signal) => hypervisor.injectNmi('any', { signal }),
      screenshot: (hypervisor, signal) => hypervisor.screenshot('any', { signal }),
      destroyVm: (hypervisor, signal) => hypervisor.destroyVm('any', { signal }),
      openConsole: (hypervisor, signal) => hypervisor.openConsole('any', { signal }),
    };
    test.for(Object.entries(calls))('%s with an aborted signal does nothing and says aborted', async ([, call]) => {
      await failure(call(await harness.session(), AbortSignal.abort()), 'aborted');
    });

    test('disposing a session twice is fine and settles closed without a reason', async () => {
      const hypervisor = await harness.fixture.connect();
      await hypervisor[Symbol.asyncDispose]();
      await hypervisor[Symbol.asyncDispose]();
      expect(await hypervisor.closed).toBeUndefined();
    });

    test('a disposed session refuses calls as a mistake of the program', async () => {
      const hypervisor = await harness.fixture.connect();
      await hypervisor[Symbol.asyncDispose]();
      await expect(hypervisor.listVms()).rejects.toThrow(TypeError);
    });
  });
}
