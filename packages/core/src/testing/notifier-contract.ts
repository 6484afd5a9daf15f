import { inspect } from 'node:util';
import type { Notification, Notifier } from '../contracts/notifier.ts';
import type { Alert } from '../model/alert.ts';
import { failure } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** One notifier to run the suite against, and what can be done to its receiver. */
export interface NotifierContractFixture {
  readonly notifier: Notifier;
  /** What the receiver has taken so far: the notifications' ids, and what a person reads. */
  readonly received: () => Promise<readonly { readonly id: string; readonly text: string }[]>;
  /** Makes the receiver refuse everything, for now or for good, until `accept`. */
  readonly refuse?: (how: 'for-now' | 'for-good') => void | Promise<void>;
  /** Makes it take everything again. */
  readonly accept?: () => void | Promise<void>;
  /** Makes it take connections and never answer. */
  readonly hang?: () => void | Promise<void>;
  /** Makes it unreachable. */
  readonly disconnect?: () => void | Promise<void>;
  /** Values that must never show. */
  readonly secrets?: readonly string[];
  /** Takes everything down, the notifier included. */
  readonly dispose: () => Promise<void>;
}

/** What {@link notifierContract} is given. */
export interface NotifierContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Called for each test. */
  readonly setup: () => Promise<NotifierContractFixture>;
}

/**
 * Registers the vitest suite that every {@link Notifier} passes. Tests of what the fixture can't do
 * are skipped.
 * @throws `dependency-missing` outside a vitest run.
 */
export function notifierContract({ name, setup }: NotifierContractOptions): void {
  const { vitest } = testFramework();
  const { describe, expect, it } = vitest;

  describe(`notifier contract: ${name}`, () => {
    let fixture: NotifierContractFixture;
    vitest.beforeEach(async () => {
      fixture = await setup();
    });
    vitest.afterEach(() => fixture.dispose());
    const ids = async (): Promise<string[]> => (await fixture.received()).map(({ id }) => id);

    it('gives the receiver every notification with its id and what happened', async () => {
      for (const [index, reason] of (['raised', 'escalated', 'resolved'] as const).entries()) {
        await fixture.notifier.deliver(notification(`n${index}`, reason));
      }
      const received = await fixture.received();
      expect(received.map(({ id }) => id)).toEqual(['n0', 'n1', 'n2']);
      for (const { text } of received) expect(text).toContain('board-ü7 does not answer');
    });

    it('has the same id when it is delivered again', async () => {
      await fixture.notifier.deliver(notification('n1'));
      await fixture.notifier.deliver(notification('n1'));
      expect(await ids()).toEqual(['n1', 'n1']);
    });

    it('text that would forge a header or a field of the message does not', async () => {
      const message = 'x"}\r\nBcc: evil@example.org\r\n\r\n.\r\n{"id":"forged"';
      const forged = notification('n1');
      await fixture.notifier.deliver({ ...forged, alert: { ...forged.alert, message, subject: message } });
      expect(await ids()).toEqual(['n1']);
      await fixture.notifier.deliver(notification('n2'));
      expect(await ids()).toEqual(['n1', 'n2']);
    });

    it('a receiver that refuses for now is worth another try', async ({ skip }) => {
      const { notifier, refuse, accept } = fixture;
      if (refuse === undefined || accept === undefined) return skip('the fixture can’t refuse');
      await refuse('for-now');
      expect(await failure(notifier.deliver(notification('n1')), 'delivery-failed')).toHaveProperty('retryable', true);
      await accept();
      await notifier.deliver(notification('n1'));
      expect(await ids()).toEqual(['n1']);
    });

    it('a receiver that refuses for good is not', async ({ skip }) => {
      const { notifier, refuse } = fixture;
      if (refuse === undefined) return skip('the fixture can’t refuse');
      await refuse('for-good');
      const error = await failure(notifier.deliver(notification('n1')), 'delivery-failed', 'authentication-failed');
      expect(error).toHaveProperty('retryable', false);
      for (const secret of fixture.secrets ?? []) expect(inspect(error, { depth: 20 })).not.toContain(secret);
    });

    it('a receiver that can’t be reached is a failed connection that may come back', async ({ skip }) => {
      const { notifier, disconnect } = fixture;
      if (disconnect === undefined) return skip('the fixture can’t make the receiver unreachable');
      await disconnect();
      const error = await failure(notifier.deliver(notification('n1')), 'connection-failed');
      expect(error).toHaveProperty('retryable', true);
      for (const secret of fixture.secrets ?? []) expect(inspect(error, { depth: 20 })).not.toContain(secret);
    });

    it('a receiver that never answers is given up in time, and may be tried again', async ({ skip }) => {
      const { notifier, hang } = fixture;
      if (hang === undefined) return skip('the fixture can’t hang');
      await hang();
      const error = await failure(notifier.deliver(notification('n1'), { timeoutMs: 100 }), 'deadline-exceeded');
      expect(error).toHaveProperty('retryable', true);
      const controller = new AbortController();
      const hanging = failure(notifier.deliver(notification('n2'), { signal: controller.signal }), 'aborted');
      controller.abort();
      await hanging;
    });

    it('with an aborted signal it tells nobody', async () => {
      await failure(fixture.notifier.deliver(notification('n1'), { signal: AbortSignal.abort() }), 'aborted');
      expect(await ids()).toEqual([]);
    });

    it('disposing twice is fine', async () => {
      await fixture.notifier[Symbol.asyncDispose]();
      await fixture.notifier[Symbol.asyncDispose]();
    });
  });
}

function notification(id: string, reason: Notification['reason'] = 'raised'): Notification {
  const alert: Alert = {
    id: 'alert-1',
    type: 'unreachable',
    severity: 'critical',
    state: reason === 'resolved' ? 'resolved' : 'open',
    subject: 'board-7',
    message: 'board-ü7 does not answer. Its power was cycled twice.',
    details: { board: 'board-ü7', cycles: 2 },
    count: 3,
    raisedAt: Date.UTC(2026, 0, 1),
    lastSeenAt: Date.UTC(2026, 0, 1, 0, 5),
    ...(reason === 'resolved' && { resolvedAt: Date.UTC(2026, 0, 1, 1), resolution: 'it answers again' }),
  };
  return { id, reason, alert };
}
