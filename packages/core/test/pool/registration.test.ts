import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BringupError, architectures, limits, silentLogger } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { kernelBuild, repositories } from '../support/requests.ts';

const connection = { hostname: '-bad-', sshPort: 0, ipAddress: 'nowhere' };

it.each([
  [
    'build server',
    (lab) => lab.buildServers.registerServer({ ...connection, maxConcurrentBuilds: 1.5, workspace: 'relative' }),
    ['hostname', 'ipAddress', 'sshPort', 'maxConcurrentBuilds', 'workspace'],
  ],
  [
    'host',
    (lab) => lab.hosts.registerHost({ ...connection, maxVms: 0, labels: { 'no such key!': 'a' } }),
    ['hostname', 'ipAddress', 'sshPort', 'maxVms', 'labels.no such key!'],
  ],
  [
    'board',
    (lab) =>
      lab.boards.registerBoard({
        ...connection,
        name: '',
        boardType: '',
        serialBaudRate: -1,
        powerControl: { method: 'pdu' },
      } as never),
    ['hostname', 'ipAddress', 'sshPort', 'serialBaudRate', 'powerControl.method', 'name', 'boardType'],
  ],
] satisfies [string, (lab: MemoryLab) => Promise<unknown>, string[]][])(
  'E-invalid: the registration of a %s names one issue for each field that is wrong',
  async (_kind, register, fields) => {
    await using lab = await memoryLab();
    await expect(register(lab)).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: fields.map((path) => ({ path })) },
    });
  },
);

describe('registering a build server', () => {
  it('R1.1, R1.2, R1.3, P1: puts it into the pool with the cores, memory, disk and compilers it was found to have', () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          cpuCores: fc.integer({ min: 1, max: 256 }),
          memoryMb: fc.integer({ min: 512, max: 1 << 20 }),
          storageGb: fc.integer({ min: 1, max: 10_000 }),
          targets: fc.uniqueArray(fc.constantFrom(...architectures), { minLength: 1 }),
        }),
        async ({ targets, ...sizes }) => {
          await using lab = await memoryLab();
          const machine = {
            ...sizes,
            toolchains: targets.map((targetArchitecture) => ({ targetArchitecture, version: '13.1.0' })),
          };
          const claims = targets.map((targetArchitecture) => ({ name: 'gcc', targetArchitecture, version: '13' }));
          const added = await lab.addServer({ machine, toolchains: claims, labels: { rack: 'a' } });
          expect(added).toMatchObject({
            status: 'online',
            totalCpuCores: sizes.cpuCores,
            totalMemoryMb: sizes.memoryMb,
            totalStorageGb: sizes.storageGb,
            supportedArchitectures: targets,
            labels: { rack: 'a' },
            activeBuildCount: 0,
            queueDepth: 0,
            maxConcurrentBuilds: 4,
          });
          expect(
            added.toolchains.map(({ name, version, targetArchitecture }) => [name, version, targetArchitecture]),
          ).toEqual(targets.map((target) => ['gcc', '13.1.0', target]));
          expect(await lab.buildServers.getServerStatus(added.id)).toEqual(added);
        },
      ),
      { numRuns: 100 },
    ));

  it('E-invalid: names one issue for each field that is wrong', async () => {
    await using lab = await memoryLab();
    const wrong = lab.buildServers.registerServer({
      hostname: '-bad-',
      sshPort: 0,
      ipAddress: 'nowhere',
      maxConcurrentBuilds: 1.5,
      workspace: 'relative',
    });
    await expect(wrong).rejects.toMatchObject({
      code: 'invalid-input',
      details: {
        issues: ['hostname', 'ipAddress', 'sshPort', 'maxConcurrentBuilds', 'workspace'].map((path) => ({ path })),
      },
    });
  });

  it.each([
    ['connection-failed', (f) => void (f.refuseConnection = true)],
    ['authentication-failed', (f) => void (f.rejectAuthentication = true)],
    ['host-key-changed', (f) => void (f.failConnection = new BringupError('host-key-changed', 'not the key we know'))],
  ] satisfies [
    string,
    (faults: {
      refuseConnection: boolean;
      rejectAuthentication: boolean;
      failConnection: BringupError | undefined;
    }) => void,
  ][])('R1.2: fails with %s, and leaves nothing in the pool', async (code, breakIt) => {
    await using lab = await memoryLab();
    breakIt(lab.shell.host('build1').faults);
    await expect(lab.addServer({ hostname: 'build1' })).rejects.toMatchObject({ code });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });

  it('R1.2, R1.4, E-toolchain: fails when a claimed toolchain is missing: which, what is installed, and who has it', async () => {
    await using lab = await memoryLab();
    await lab.addServer({
      hostname: 'other',
      machine: { toolchains: [{ targetArchitecture: 'riscv64' }, { name: 'clang', targetArchitecture: 'x86_64' }] },
    });
    const machine = { toolchains: [{ targetArchitecture: 'x86_64' as const }] };
    const toolchains = [
      { name: 'gcc', targetArchitecture: 'x86_64' },
      { name: 'gcc', targetArchitecture: 'riscv64' },
      { name: 'clang', targetArchitecture: 'arm64', version: '15' },
      { name: 'gcc', targetArchitecture: 'x86_64', version: '13' },
    ] as const;
    await expect(lab.addServer({ hostname: 'new', machine, toolchains })).rejects.toMatchObject({
      code: 'toolchain-missing',
      details: {
        missing: ['gcc for riscv64', 'clang 15 for arm64', 'gcc 13 for x86_64'],
        installed: ['gcc 12.2.0 for x86_64'],
        elsewhere: { 'gcc for riscv64': ['other'], 'clang 15 for arm64': ['other'], 'gcc 13 for x86_64': [] },
      },
    });
    expect(await lab.buildServers.findServer('new')).toBeUndefined();
  });

  it('R1.5: fails when it has no compiler for an architecture that was stated', async () => {
    await using lab = await memoryLab();
    const machine = { toolchains: [{ targetArchitecture: 'x86_64' as const }] };
    await expect(lab.addServer({ machine, supportedArchitectures: ['x86_64', 'riscv64'] })).rejects.toMatchObject({
      code: 'toolchain-missing',
      details: { missing: ['a compiler for riscv64'] },
    });
    const added = await lab.addServer({ hostname: 'one', machine, supportedArchitectures: ['x86_64'] });
    expect(added.supportedArchitectures).toEqual(['x86_64']);
  });

  it('R1.5: builds only by the recipes that were stated', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer({ hostname: 'images', allowedRecipes: ['script'] });
    const refused = await lab.builds.submitBuild(kernelBuild);
    const failed = await lab.clock.runUntil(lab.builds.waitForBuild(refused.id));
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'no-match' } });
    expect(failed.errorMessage).toContain('recipe is not kernel');
    const server = await lab.addServer({ hostname: 'kernels', allowedRecipes: ['kernel'] });
    const build = await lab.builds.submitBuild(kernelBuild);
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(build.id))).toMatchObject({
      status: 'completed',
      serverId: server.id,
    });
  });

  it('R1.4: fails when it has too little of something: what, and how much', async () => {
    await using lab = await memoryLab();
    const machine = { cpuCores: 2, memoryMb: 4096, storageGb: 50 };
    const adding = lab.addServer({ machine, minCpuCores: 4, minMemoryMb: 4096, minStorageGb: 100 });
    await expect(adding).rejects.toMatchObject({
      code: 'insufficient-resources',
      details: {
        shortages: [
          { resource: 'cpuCores', wanted: 4, found: 2 },
          { resource: 'storageGb', wanted: 100, found: 50 },
        ],
      },
    });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });

  it('E-ssh-auth: logs a refused login, tells an administrator, and does not try again', async () => {
    const logged: string[] = [];
    const logger = { ...silentLogger, error: (_details: object, message: string) => void logged.push(message) };
    await using lab = await memoryLab({ logger });
    lab.shell.host('build1').faults.rejectAuthentication = true;
    const before = await lab.events.cursor();
    await expect(lab.addServer({ hostname: 'build1' })).rejects.toMatchObject({ code: 'authentication-failed' });
    expect(await raised(lab, before)).toEqual([
      ['authentication-failed', 'critical', 'registration:build_server:build1'],
    ]);
    expect(logged).toEqual([expect.stringContaining('login was refused')]);
    lab.shell.host('build1').faults.rejectAuthentication = false;
    await lab.addServer({ hostname: 'build1' });
    const names = [];
    for await (const { name } of lab.events.read({ after: before })) names.push(name);
    expect(names).toContain('alert:resolved');
  });

  it('E-ssh-timeout: tries a connection that times out three more times, ever more slowly, then fails', async () => {
    await using lab = await memoryLab();
    lab.shell.host('build1').faults.hang = true;
    const from = lab.clock.now();
    const failed = lab.addServer({ hostname: 'build1' }).catch((error: unknown) => error);
    expect(await lab.clock.runUntil(failed)).toMatchObject({ code: 'deadline-exceeded' });
    const { connectTimeoutMs, connectBackoffMs } = limits;
    expect(lab.clock.now() - from).toBe(4 * connectTimeoutMs + 7 * connectBackoffMs);
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });

  it('E-ssh-timeout: succeeds when the machine answers in between', async () => {
    await using lab = await memoryLab();
    lab.shell.host('build1').faults.hang = true;
    const adding = lab.addServer({ hostname: 'build1' });
    await lab.clock.advance(limits.connectTimeoutMs);
    lab.shell.host('build1').faults.hang = false;
    expect(await lab.clock.runUntil(adding)).toMatchObject({ status: 'online' });
  });

  it('ends at the time its caller gives, retries or not', async () => {
    await using lab = await memoryLab();
    lab.shell.host('build1').faults.hang = true;
    const adding = lab.buildServers.registerServer({ hostname: 'build1' }, { timeoutMs: 25_000 });
    const failed = adding.catch((error: unknown) => error);
    const from = lab.clock.now();
    expect(await lab.clock.runUntil(failed)).toMatchObject({ code: 'deadline-exceeded' });
    expect(lab.clock.now() - from).toBe(25_000);
  });

  it('refuses a name that is taken, even when both come at once', async () => {
    await using lab = await memoryLab();
    const both = await Promise.allSettled([lab.addServer({ hostname: 'one' }), lab.addServer({ hostname: 'one' })]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(lab.addServer({ hostname: 'one' })).rejects.toMatchObject({ code: 'conflict' });
  });

  it('can be tried without adding anything', async () => {
    await using lab = await memoryLab();
    await lab.buildServers.validateServerConnectivity({ hostname: 'build1' });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });
});

describe('registering a host', () => {
  it('R7.1, R7.2, R7.3, R7.5, P8: puts it into the pool with what was detected there', () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          architecture: fc.constantFrom(...architectures),
          cpuCores: fc.integer({ min: 1, max: 512 }),
          memoryMb: fc.integer({ min: 512, max: 1 << 22 }),
          storageGb: fc.integer({ min: 1, max: 10_000 }),
          kernelVersion: fc.constantFrom('5.15.0', '6.1.0-9-amd64'),
        }),
        fc.record({
          kvm: fc.boolean(),
          nestedVirt: fc.boolean(),
          architectures: fc.uniqueArray(fc.constantFrom(...architectures), { minLength: 1 }),
        }),
        async (machine, capabilities) => {
          await using lab = await memoryLab();
          const host = await lab.addHost({ machine, capabilities, ipAddress: '192.0.2.7', maxVms: 3 });
          expect(host).toMatchObject({
            status: 'online',
            ipAddress: '192.0.2.7',
            architecture: machine.architecture,
            kernelVersion: machine.kernelVersion,
            vmArchitectures: capabilities.architectures,
            kvmEnabled: capabilities.kvm,
            nestedVirtEnabled: capabilities.nestedVirt,
            totalCpuCores: machine.cpuCores,
            totalMemoryMb: machine.memoryMb,
            totalStorageGb: machine.storageGb,
            runningVmCount: 0,
            maxVms: 3,
          });
          expect(await lab.hosts.getHostStatus(host.id)).toEqual(host);
        },
      ),
      { numRuns: 100 },
    ));

  it('R9.5: tells its network configuration', async () => {
    await using lab = await memoryLab();
    const { networkInterfaces } = await lab.addHost({ machine: { network: { eth0: ['10.0.0.2/24'], br0: [] } } });
    expect(networkInterfaces).toEqual([
      { name: 'eth0', state: 'up', macAddress: '02:00:00:00:00:00', speedMbps: 1000, addresses: ['10.0.0.2/24'] },
      { name: 'br0', state: 'up', macAddress: '02:00:00:00:00:01', speedMbps: 1000, addresses: [] },
    ]);
  });

  it.each([
    ['connection-failed', (lab) => void (lab.shell.host('host1').faults.refuseConnection = true)],
    ['authentication-failed', (lab) => void (lab.shell.host('host1').faults.rejectAuthentication = true)],
    [
      'dependency-missing',
      (lab) => lab.hypervisor.failNext('connect', new BringupError('dependency-missing', 'no libvirt there')),
    ],
  ] satisfies [string, (lab: MemoryLab) => void][])(
    'R7.4: fails with %s, and leaves nothing in the pool',
    async (code, breakIt) => {
      await using lab = await memoryLab();
      breakIt(lab);
      await expect(lab.addHost({ hostname: 'host1' })).rejects.toMatchObject({ code });
      expect(await lab.hosts.getAllHosts()).toEqual([]);
    },
  );

  it('R7.1: fails when it has less than it should, by what its hypervisor offers', async () => {
    await using lab = await memoryLab();
    await expect(lab.addHost({ capabilities: { memoryMb: 1024 }, minMemoryMb: 2048 })).rejects.toMatchObject({
      code: 'insufficient-resources',
      details: { shortages: [{ resource: 'memoryMb', wanted: 2048, found: 1024 }] },
    });
    expect(await lab.hosts.getAllHosts()).toEqual([]);
  });

  it('E-invalid: names one issue for each field that is wrong', async () => {
    await using lab = await memoryLab();
    const wrong = lab.hosts.registerHost({ hostname: '', maxVms: 0, minMemoryMb: -1, labels: { '': 'x' } });
    await expect(wrong).rejects.toMatchObject({ code: 'invalid-input' });
    const { details } = (await wrong.catch((error: unknown) => error)) as BringupError;
    const paths = (details['issues'] as { path: string }[]).map(({ path }) => path);
    expect(paths.sort()).toEqual(['hostname', 'labels.', 'maxVms', 'minMemoryMb']);
  });
});

async function raised(lab: MemoryLab, after: number): Promise<unknown[]> {
  const alerts = [];
  for await (const event of lab.events.read({ after })) {
    if (event.name === 'alert:raised') alerts.push([event.data.type, event.data.severity, event.data.subject]);
  }
  return alerts;
}
