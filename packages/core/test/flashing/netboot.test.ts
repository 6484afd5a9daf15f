import { describe, expect, it } from 'vitest';
import { netboot, type FlashTarget } from '@bringup/core';
import { flashContract, memoryShell } from '@bringup/core/testing';

const server = { hostname: 'tftp', username: 'lab' };
const board = { id: 'b1', name: 'board1', boardType: 'evaluation', architecture: 'arm64' } as const;
const target: FlashTarget = { stationId: 'rack1/board1', board };

function rig(files?: Readonly<Record<string, string>>) {
  const shell = memoryShell();
  const host = shell.host(server.hostname);
  host.fs.makeFolder('/srv/tftp', { recursive: true });
  const connector = netboot({ shell, server, path: '/srv/tftp', ...(files !== undefined && { files }) });
  return { shell, host, connector };
}

const imageOf = (text: string, slot = 'kernel') => ({
  slot,
  bytes: {
    sizeBytes: text.length,
    async *read() {
      yield Buffer.from(text);
    },
  },
});

flashContract({
  name: 'a folder that boards boot from',
  setup: async () => {
    const { host, connector } = rig();
    const station = await connector.open(target);
    const path = '/srv/tftp/rack1/board1/kernel';
    return {
      station,
      slot: 'kernel',
      proof: 'readback',
      contents: () => (host.fs.stat(path) === undefined ? undefined : host.fs.readFile(path)),
      corruptNext: () => void (host.faults.corruptUploads = 1),
      cutNext: () => {
        const append = host.fs.appendFile.bind(host.fs);
        host.fs.appendFile = (...args) => {
          host.fs.appendFile = append;
          append(...args);
          host.dropConnections();
        };
      },
      dispose: () => Promise.resolve(connector[Symbol.asyncDispose]()),
    };
  },
});

describe('a board that boots over the network', () => {
  it('E-flash: has the whole file or the one from before, whatever is cut on the way', async () => {
    const { host, connector } = rig();
    await using _connector = connector;
    await using station = await connector.open(target);
    await station.flash(imageOf('the kernel that boots'));
    const append = host.fs.appendFile.bind(host.fs);
    host.fs.appendFile = (...args) => {
      append(...args);
      host.dropConnections();
    };
    await expect(station.flash(imageOf('another one'))).rejects.toMatchObject({ code: 'connection-lost' });
    expect(host.fs.readFile('/srv/tftp/rack1/board1/kernel').toString()).toBe('the kernel that boots');
  });

  it('R6.2: is asked whether its files are still what was flashed', async () => {
    const { host, connector } = rig({ kernel: 'Image' });
    await using _connector = connector;
    await using station = await connector.open(target);
    const { sizeBytes, sha256 } = await station.flash(imageOf('a kernel'));
    const expected = { slot: 'kernel', sizeBytes, sha256 };
    expect(await station.verify?.(expected)).toBe(true);
    host.fs.writeFile('/srv/tftp/rack1/board1/Image', 'b kernel');
    expect(await station.verify?.(expected)).toBe(false);
    host.fs.remove('/srv/tftp/rack1/board1/Image');
    expect(await station.verify?.(expected)).toBe(false);
  });

  it('has a folder of its own, which can’t lead out of what is served', async () => {
    const { connector } = rig();
    await using _connector = connector;
    for (const stationId of ['..', '../etc', 'a/../../b', '/etc', 'a//b', '', '.hidden', 'a b']) {
      await expect(connector.open({ ...target, stationId })).rejects.toMatchObject({
        code: 'invalid-input',
        details: { issues: [{ path: 'flashStationId' }] },
      });
    }
    expect(() => netboot({ shell: memoryShell(), server, path: 'srv' })).toThrow('must be absolute');
  });

  it('is not made up a server: the served folder must be there', async () => {
    const shell = memoryShell();
    await using connector = netboot({ shell, server, path: '/srv/tftp' });
    await expect(connector.open(target)).rejects.toMatchObject({ code: 'not-found', details: { path: '/srv/tftp' } });
  });

  it('fails to be flashed when the server’s disk is full', async () => {
    const { host, connector } = rig();
    await using _connector = connector;
    await using station = await connector.open(target);
    host.fs.capacityBytes = 3;
    await expect(station.flash(imageOf('too large'))).rejects.toMatchObject({ code: 'flash-failed' });
  });
});
