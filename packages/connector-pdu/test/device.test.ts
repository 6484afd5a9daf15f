import { BringupError, limits, type PowerConnector, type PowerOutlet, type PowerState } from '@bringup/core';
import { fakeClock, type FakeClock } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { numberedOutlets, pdu, type DriverCall, type PduDriver } from '../src/index.ts';

/** A device in memory that takes its time, and counts who talks to it at once. */
class SlowDevice implements PduDriver {
  readonly kind = 'slow';
  readonly address = 'here';
  readonly method = 'network_pdu';
  readonly checkOutlet = numberedOutlets({ max: 8 });
  tellsState = true;
  repeats = 0;
  /** Answers take so long. */
  latencyMs = 0;
  /** Relays take so long after the answer. */
  relayMs = 0;
  stuck = false;
  readonly live = new Map<string, PowerState>();
  readonly commands: string[] = [];
  reads = 0;
  busiest = 0;
  failCommands: BringupError | undefined;
  failReads: BringupError[] = [];
  #busy = 0;

  readonly clock: FakeClock;

  constructor(clock: FakeClock) {
    this.clock = clock;
  }

  switch(outlet: string, wanted: 'on' | 'off', { signal }: DriverCall): Promise<void> {
    return this.#request(signal, () => {
      this.commands.push(`${outlet} ${wanted}`);
      if (!this.stuck) this.clock.timer(this.relayMs, () => this.live.set(outlet, wanted));
      if (this.failCommands !== undefined) throw this.failCommands;
    });
  }

  read(outlet: string, { signal }: DriverCall): Promise<PowerState> {
    return this.#request(signal, () => {
      this.reads += 1;
      const failure = this.failReads.shift();
      if (failure !== undefined) throw failure;
      return this.tellsState ? (this.live.get(outlet) ?? 'off') : 'unknown';
    });
  }

  async #request<T>(signal: AbortSignal, act: () => T): Promise<T> {
    this.busiest = Math.max(this.busiest, (this.#busy += 1));
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = this.clock.timer(this.latencyMs, resolve);
        signal.addEventListener('abort', () => {
          timer[Symbol.dispose]();
          reject(signal.reason as Error);
        });
      });
      return act();
    } finally {
      this.#busy -= 1;
    }
  }
}

interface Fixture {
  readonly clock: FakeClock;
  readonly device: SlowDevice;
  readonly connector: PowerConnector;
  readonly open: (outlet?: string) => Promise<PowerOutlet>;
}

function fixture(change: Partial<SlowDevice> = {}): Fixture {
  const clock = fakeClock();
  const device = Object.assign(new SlowDevice(clock), change);
  const connector = pdu({ devices: { rack: device }, clock });
  const open = (pduOutlet = '1'): Promise<PowerOutlet> =>
    connector.open({ method: 'network_pdu', pduAddress: 'rack', pduOutlet });
  return { clock, device, connector, open };
}

const lost = (sent: boolean): BringupError =>
  new BringupError('connection-failed', 'it is gone', { retryable: true, details: { sent } });

describe('switching', () => {
  it('waits until the outlet reads back what it was told', async () => {
    const { clock, device, open } = fixture({ relayMs: 2_000 });
    const outlet = await open();
    const startMs = clock.now();
    await clock.runUntil(outlet.on());
    expect(clock.now() - startMs).toBeGreaterThanOrEqual(2_000);
    expect(clock.now() - startMs).toBeLessThanOrEqual(2_000 + limits.pduPollMs);
    expect(device.commands).toEqual(['1 on']);
  });

  it('an outlet that stays as it was has failed when its time is over, and is not switched again', async () => {
    const { clock, device, open } = fixture({ stuck: true });
    const outlet = await open();
    const startMs = clock.now();
    await expect(clock.runUntil(outlet.on())).rejects.toMatchObject({
      code: 'power-failed',
      details: { device: 'rack', outlet: '1', wanted: 'on', actual: 'off' },
    });
    expect(clock.now() - startMs).toBe(limits.pduSettleMs);
    expect(device.commands).toEqual(['1 on']);
  });

  it('a device that says unknown has not confirmed anything', async () => {
    const { clock, device, open } = fixture({ stuck: true });
    device.live.set('1', 'unknown');
    const outlet = await open();
    await expect(clock.runUntil(outlet.on())).rejects.toMatchObject({
      code: 'power-failed',
      details: { actual: 'unknown' },
    });
  });

  it('a command that can’t have been heard is not asked about, and one that may have been is', async () => {
    const { clock, device, open } = fixture({ failCommands: lost(false) });
    const outlet = await open();
    await expect(clock.runUntil(outlet.on())).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
    expect(device.reads).toBe(0);
    device.failCommands = lost(true);
    await clock.runUntil(outlet.off());
    expect(device.reads).toBe(1);
  });

  it('a read that fails for a moment does not spoil a change that happened', async () => {
    const { clock, device, open } = fixture();
    device.failReads = [lost(true), lost(true)];
    await clock.runUntil((await open()).on());
    expect(device.reads).toBe(3);
    expect(device.commands).toEqual(['1 on']);
  });

  it('without a state to read, a lost answer is a failure', async () => {
    const { clock, device, open } = fixture({ tellsState: false, failCommands: lost(true) });
    await expect(clock.runUntil((await open()).on())).rejects.toMatchObject({ code: 'connection-failed' });
    expect(device.reads).toBe(0);
  });

  it('what a driver throws of its own is a failed power control with its cause', async () => {
    const { clock, device, open } = fixture();
    device.switch = () => Promise.reject(new RangeError('a bug'));
    await expect(clock.runUntil((await open()).on())).rejects.toMatchObject({
      code: 'power-failed',
      message: expect.stringContaining('outlet 1 of rack (slow at here) on: a bug') as string,
      cause: { name: 'RangeError' },
    });
  });
});

describe('many callers of one device', () => {
  it('never talk to it at the same time, and a stuck outlet does not hold up the others', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ outlet: fc.integer({ min: 1, max: 4 }), wanted: fc.constantFrom('on', 'off', 'read') }), {
          minLength: 2,
          maxLength: 12,
        }),
        fc.integer({ min: 1, max: 40 }),
        async (calls, latencyMs) => {
          const { clock, device, open } = fixture({ latencyMs });
          const outcomes = await clock.runUntil(
            Promise.all(
              calls.map(async ({ outlet, wanted }) => {
                const opened = await open(String(outlet));
                if (wanted === 'read') return opened.state();
                await opened[wanted as 'on' | 'off']();
                return wanted;
              }),
            ),
          );
          expect(device.busiest).toBe(1);
          expect(outcomes).toHaveLength(calls.length);
          for (const outlet of ['1', '2', '3', '4']) {
            const last = calls.findLast((call) => String(call.outlet) === outlet && call.wanted !== 'read');
            expect(device.live.get(outlet)).toBe(last?.wanted);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('an outlet that does not switch leaves the others their turn', async () => {
    const { clock, device, open } = fixture({ latencyMs: 10 });
    const [bad, good] = [await open('1'), await open('2')];
    device.stuck = true;
    const failing = bad.on().catch((error: BringupError) => error.code);
    await clock.advance(50);
    device.stuck = false;
    const startMs = clock.now();
    await clock.runUntil(good.on());
    expect(clock.now() - startMs).toBeLessThan(500);
    expect(await clock.runUntil(failing)).toBe('power-failed');
  });

  it('changes of one outlet don’t mix: each is read back before the next begins', async () => {
    const { clock, device, open } = fixture({ relayMs: 1_000, latencyMs: 5 });
    const outlet = await open();
    await clock.runUntil(Promise.all([outlet.on(), outlet.off(), outlet.on()]));
    expect(device.commands).toEqual(['1 on', '1 off', '1 on']);
    expect(device.live.get('1')).toBe('on');
  });
});

describe('a call', () => {
  it('ends with its deadline, and what waited behind it goes on', async () => {
    const { clock, device, open } = fixture({ latencyMs: 60_000 });
    const outlet = await open();
    const startMs = clock.now();
    await expect(clock.runUntil(outlet.on())).rejects.toMatchObject({ code: 'deadline-exceeded', retryable: true });
    expect(clock.now() - startMs).toBe(limits.powerCallMs);
    device.latencyMs = 1;
    await clock.runUntil(outlet.on());
    expect(device.commands).toEqual(['1 on']);
  });

  it('that is aborted while it waits for its turn never reaches the device', async () => {
    const { clock, device, open } = fixture({ latencyMs: 100 });
    const outlet = await open();
    const controller = new AbortController();
    const first = outlet.on();
    const second = outlet.off({ signal: controller.signal });
    controller.abort();
    await expect(second).rejects.toMatchObject({ code: 'aborted' });
    await clock.runUntil(first);
    await clock.advance(10_000);
    expect(device.commands).toEqual(['1 on']);
  });

  it('under way when the connector is disposed of is aborted; later ones are mistakes', async () => {
    const { clock, device, connector, open } = fixture({ latencyMs: 100 });
    const outlet = await open();
    const call = outlet.on();
    await clock.settle();
    await connector[Symbol.asyncDispose]();
    await connector[Symbol.asyncDispose]();
    await expect(call).rejects.toMatchObject({ code: 'aborted' });
    await expect(outlet.off()).rejects.toThrow(TypeError);
    await expect(open()).rejects.toThrow(TypeError);
    await clock.advance(10_000);
    expect(device.commands).toEqual([]);
  });
});
