import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { pdu } from '@bringup/connector-pdu';
import { createLab, Secret } from '@bringup/core';
import { memoryArtifactStorage, powerContract } from '@bringup/core/testing';
import { expect, it } from 'vitest';
import { powerStrip } from '../src/power-strip.ts';

interface Strip extends AsyncDisposable {
  readonly host: string;
  /** Sockets that have power. */
  readonly live: Set<string>;
  stuck: boolean;
}

/** The strip as it stands in the lab, on this machine's loopback. */
async function plugIn(): Promise<Strip> {
  const server = createServer((request, response) => {
    void (async (): Promise<void> => {
      const socket = /^\/sockets\/([1-6])$/.exec(request.url ?? '')?.[1] ?? '';
      if (request.headers.authorization !== `Basic ${btoa('admin:sesame')}`) response.writeHead(401).end();
      else if (socket === '') response.writeHead(404).end();
      else {
        const wanted = request.method === 'PUT' ? ((await json(request)) as { on: boolean }).on : undefined;
        if (wanted === true && !strip.stuck) strip.live.add(socket);
        if (wanted === false && !strip.stuck) strip.live.delete(socket);
        response.end(JSON.stringify({ on: strip.live.has(socket) }));
      }
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const strip: Strip = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    live: new Set(),
    stuck: false,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  return strip;
}

const password = new Secret('sesame');

// What every outlet must do: all but the few lines of the driver is pdu's.
powerContract({
  name: 'power strip',
  setup: async () => {
    const strip = await plugIn();
    const connector = pdu({ devices: { bench: powerStrip({ host: strip.host, password }) }, settleMs: 10 });
    return {
      outlet: await connector.open({ method: 'network_pdu', pduAddress: 'bench', pduOutlet: '3' }),
      tellsState: true,
      actual: () => (strip.live.has('3') ? 'on' : 'off'),
      stick: () => void (strip.stuck = true),
      disconnect: async () => strip[Symbol.asyncDispose](),
      dispose: async () => {
        await connector[Symbol.asyncDispose]();
        await strip[Symbol.asyncDispose]();
      },
    };
  },
});

it('is what docs/writing-a-connector.md shows, and no longer than it says', async () => {
  const [source, page] = await Promise.all(
    ['../src/power-strip.ts', '../../../docs/writing-a-connector.md'].map((path) =>
      readFile(new URL(path, import.meta.url), 'utf8'),
    ),
  );
  expect(page).toContain(`\`\`\`ts\n${source}\`\`\``);
  expect(source?.split('\n').length).toBeLessThanOrEqual(31);
});

it('is given to a lab as that page says', async () => {
  await using strip = await plugIn();
  const power = pdu({ devices: { bench: powerStrip({ host: strip.host, password }) } });
  await using _lab = await createLab({ artifacts: memoryArtifactStorage(), connectors: { power } });
  const outlet = await power.open({ method: 'network_pdu', pduAddress: 'bench', pduOutlet: '1' });
  await outlet.on();
  expect([...strip.live]).toEqual(['1']);
});
