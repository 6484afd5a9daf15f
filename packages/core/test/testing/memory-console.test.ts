import { describe, expect, test } from 'vitest';
import { consoleContract, memoryConsole, MemoryLine } from '../../src/testing/index.ts';

const target = { name: 'board1', device: '/dev/ttyUSB0', baudRate: 115_200 };

consoleContract({
  name: 'memory',
  setup: async () => {
    let breaks = 0;
    const connector = memoryConsole();
    const line = new MemoryLine('board1', () => void (breaks += 1));
    connector.attach(target.device, line);
    const received: Uint8Array[] = [];
    let arrived = Promise.withResolvers<void>();
    void (async () => {
      for await (const bytes of line.input()) {
        received.push(bytes);
        arrived.resolve();
        arrived = Promise.withResolvers();
      }
    })();
    return {
      open: (options) => connector.open(target, options),
      say: (bytes) => line.say(bytes),
      received: async (count) => {
        while (Buffer.concat(received).length < count) await arrived.promise;
        return Buffer.concat(received);
      },
      cut: () => line.cut(),
      breaks: () => breaks,
      dispose: async () => {
        await connector[Symbol.asyncDispose]();
        line.end();
      },
    };
  },
});

describe('serial consoles in memory', () => {
  test('a device that is not there is not found, one that can’t be reached may come back', async () => {
    const connector = memoryConsole();
    await expect(connector.open(target)).rejects.toHaveProperty('code', 'not-found');
    connector.attach(target.device, new MemoryLine('board1'));
    connector.unreachable.add(target.device);
    await expect(connector.open(target)).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
    connector.unreachable.clear();
    await using _console = await connector.open(target);
  });
});
