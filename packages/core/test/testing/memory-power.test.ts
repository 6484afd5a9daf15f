import { describe, expect, test } from 'vitest';
import { memoryPower, powerContract } from '../../src/testing/index.ts';

for (const tellsState of [true, false]) {
  powerContract({
    name: tellsState ? 'memory' : 'memory, of a device that can’t tell',
    setup: async () => {
      const outlet = memoryPower({ tellsState });
      return {
        outlet,
        tellsState,
        actual: () => outlet.actual,
        stick: () => void (outlet.stuck = true),
        disconnect: () => void (outlet.unreachable = true),
        dispose: () => outlet[Symbol.asyncDispose](),
      };
    },
  });
}

describe('an outlet in memory', () => {
  test('tells what hangs on it each time the power really changes', async () => {
    const switched: string[] = [];
    const outlet = memoryPower({ onSwitched: (state) => switched.push(state) });
    await outlet.on();
    await outlet.on();
    await outlet.off();
    outlet.stuck = true;
    await expect(outlet.on()).rejects.toHaveProperty('code', 'power-failed');
    expect(switched).toEqual(['on', 'off']);
  });
});
