import type { PowerOutlet } from '../contracts/power.ts';
import { BringupError } from '../errors.ts';
import { failure } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** One outlet to run the suite against, and what can be done to it. */
export interface PowerContractFixture {
  readonly outlet: PowerOutlet;
  /** Whether the device can tell its state. */
  readonly tellsState: boolean;
  /** Whether the load has power, found out behind the outlet's back. */
  readonly actual: () => 'on' | 'off' | Promise<'on' | 'off'>;
  /** Makes the device take commands without switching. */
  readonly stick?: () => void | Promise<void>;
  /** Makes the device unreachable. */
  readonly disconnect?: () => void | Promise<void>;
  /** Takes everything down, the outlet included. */
  readonly dispose: () => Promise<void>;
}

/** What {@link powerContract} is given. */
export interface PowerContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Called for each test. */
  readonly setup: () => Promise<PowerContractFixture>;
}

/**
 * Registers the vitest suite that every {@link PowerOutlet} passes. Tests of what the fixture can't
 * do are skipped.
 * @throws `dependency-missing` outside a vitest run.
 */
export function powerContract({ name, setup }: PowerContractOptions): void {
  const { vitest } = testFramework();
  const { describe, expect, it } = vitest;

  describe(`power contract: ${name}`, () => {
    let fixture: PowerContractFixture;
    vitest.beforeEach(async () => {
      fixture = await setup();
    });
    vitest.afterEach(() => fixture.dispose());

    it('gives and takes power, and says so', async () => {
      const { outlet, actual, tellsState } = fixture;
      for (const wanted of ['on', 'off', 'on'] as const) {
        await outlet[wanted]();
        expect(await actual()).toBe(wanted);
        expect(await outlet.state()).toBe(tellsState ? wanted : 'unknown');
      }
    });

    it('switching to the state it has is fine', async () => {
      const { outlet, actual } = fixture;
      await outlet.on();
      await outlet.on();
      expect(await actual()).toBe('on');
      await outlet.off();
      await outlet.off();
      expect(await actual()).toBe('off');
    });

    it('a change that did not happen is a failure, never a success, where the device can tell', async ({ skip }) => {
      const { outlet, stick, tellsState } = fixture;
      if (stick === undefined) return skip('the fixture can’t make the device stick');
      await outlet.off();
      await stick();
      if (tellsState) await failure(outlet.on(), 'power-failed');
      else await outlet.on();
      expect(await outlet.state()).toBe(tellsState ? 'off' : 'unknown');
    });

    it('a device that can’t be reached is a failed connection that may come back', async ({ skip }) => {
      const { outlet, disconnect } = fixture;
      if (disconnect === undefined) return skip('the fixture can’t make the device unreachable');
      await disconnect();
      for (const call of ['on', 'off', 'state'] as const) {
        expect(await failure(outlet[call](), 'connection-failed', 'power-failed')).toHaveProperty('retryable', true);
      }
    });

    it('with an aborted signal it switches nothing', async () => {
      const { outlet, actual } = fixture;
      await outlet.off();
      await failure(outlet.on({ signal: AbortSignal.abort() }), 'aborted');
      expect(await actual()).toBe('off');
      await failure(outlet.state({ signal: AbortSignal.abort() }), 'aborted');
    });

    it('sends nothing once whoever asked finds that it is too late', async () => {
      const { outlet, actual } = fixture;
      await outlet.on();
      const beforeSending = (): never => {
        throw new BringupError('aborted', 'it is too late by now');
      };
      expect(await failure(outlet.off({ beforeSending }), 'aborted')).toHaveProperty(
        'message',
        expect.stringContaining('too late by now'),
      );
      expect(await actual()).toBe('on');
      await outlet.off({ beforeSending: () => undefined });
      expect(await actual()).toBe('off');
    });

    it('leaves the power as it is when it is disposed, twice too, and takes no calls after', async () => {
      const { outlet, actual } = fixture;
      await outlet.on();
      await outlet[Symbol.asyncDispose]();
      await outlet[Symbol.asyncDispose]();
      expect(await actual()).toBe('on');
      await expect(outlet.off()).rejects.toThrow(TypeError);
    });
  });
}
