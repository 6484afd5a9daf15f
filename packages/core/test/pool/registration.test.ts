import { describe, expect, it } from 'vitest';
import { BringupError } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';

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

  it('R1.2: fails when a compiler that was promised is missing, naming it and those that are there', async () => {
    await using lab = await memoryLab();
    const machine = { toolchains: [{ targetArchitecture: 'x86_64' as const }] };
    await expect(lab.addServer({ machine, supportedArchitectures: ['x86_64', 'riscv64'] })).rejects.toMatchObject({
      code: 'toolchain-missing',
      details: { missing: ['riscv64'], installed: ['gcc 12.2.0 for x86_64'] },
    });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
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
  it.each([
    ['connection-failed', (lab) => void (lab.shell.host('host1').faults.refuseConnection = true)],
    ['authentication-failed', (lab) => void (lab.shell.host('host1').faults.rejectAuthentication = true)],
    [
      'dependency-missing',
      (lab) => lab.hypervisor.failNext('connect', new BringupError('dependency-missing', 'no libvirt there')),
    ],
  ] satisfies [string, (lab: MemoryLab) => void][])(
    'R7.2, R7.4: fails with %s, and leaves nothing in the pool',
    async (code, breakIt) => {
      await using lab = await memoryLab();
      breakIt(lab);
      await expect(lab.addHost()).rejects.toMatchObject({ code });
      expect(await lab.hosts.getAllHosts()).toEqual([]);
    },
  );
});

describe('registering a board', () => {
  it('fails when it is not what it was said to be', async () => {
    await using lab = await memoryLab();
    await expect(lab.addBoard({ machine: { architecture: 'armv7' }, architecture: 'arm64' })).rejects.toMatchObject({
      code: 'architecture-mismatch',
      details: { claimed: 'arm64', detected: 'armv7' },
    });
    expect(await lab.boards.getAllBoards()).toEqual([]);
  });
});
