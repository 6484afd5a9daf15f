import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emailNotifier, Secret, type EmailOptions, type Notification, type Notifier } from '@bringup/core';
import { fakeClock, memoryLab } from '@bringup/core/testing';
import { startExim, type EximFixture } from '../../../../test/fixtures/exim.ts';

let exim: EximFixture;
beforeAll(async () => {
  exim = await startExim();
});
afterAll(() => exim[Symbol.asyncDispose]());

const options = (more: Partial<EmailOptions> = {}): EmailOptions => ({
  host: '127.0.0.1',
  port: exim.port,
  ca: exim.certificate,
  auth: { user: exim.user, password: new Secret(exim.password) },
  from: 'Lab <lab@example.org>',
  to: 'ada@example.org',
  ...more,
});

const notification: Notification = {
  id: '01notification',
  reason: 'raised',
  alert: {
    id: '01alert',
    type: 'temperature',
    severity: 'warning',
    state: 'open',
    subject: 'board-1',
    message: 'board-1 is at 81 °C',
    details: {},
    count: 1,
    raisedAt: 0,
    lastSeenAt: 0,
  },
};

describe('mail through a real server', () => {
  it('R16.5: a board that needs a person: the mail lies in the maildir, sent over TLS after a login', async () => {
    const email = emailNotifier(options());
    const clock = fakeClock();
    // However long the mail server takes, to the lab it is no time: or all that is due within the year would be.
    const deliver: Notifier['deliver'] = (...call) => clock.hold(email.deliver(...call));
    await using lab = await memoryLab({ clock, notifiers: [{ ...email, deliver }] });
    const board = await lab.addBoard({ powerControl: { method: 'manual' } });
    await lab.clock.runUntil(lab.boards.powerCycleBoard(board.id, { reason: 'it hangs in the boot loader' }));
    const [alert] = await lab.alerts.list();
    await lab.clock.runUntil(
      (async () => {
        const delivered = async (): Promise<boolean> =>
          (await lab.alerts.getDeliveries(alert?.id ?? '')).some(({ state }) => state === 'delivered');
        for await (const { name } of lab.events.read({ follow: true })) {
          if (name === 'notification:succeeded' && (await delivered())) return;
        }
      })(),
    );
    const [mail = ''] = await exim.waitForMails(1);
    expect(mail).toMatch(/^Subject: \[bringup\] CRITICAL: board1: it hangs in the boot loader$/m);
    expect(mail).toMatch(/^From: Lab <lab@example.org>$/m);
    expect(mail).toMatch(/^To: ada@example.org$/m);
    expect(mail).toMatch(/^Auto-Submitted: auto-generated$/im);
    expect(mail.replace(/=\r?\n/g, '').replace(/\s+/g, ' ')).toContain('switch it off, wait a moment');
    expect(await exim.log()).toMatch(/<= lab@example\.org .*X=TLS1\.[23].* A=plain:lab /);
    expect(await exim.log()).not.toContain(exim.password);
  });

  it('a wrong password is no use to try again, and does not show', async () => {
    const auth = { user: exim.user, password: new Secret('not-the-one') };
    const error: unknown = await emailNotifier(options({ auth }))
      .deliver(notification)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'authentication-failed', retryable: false });
    expect(inspect(error, { depth: 20 })).not.toContain('not-the-one');
  });

  it('a certificate that nobody vouches for is refused before anything is said', async () => {
    const { ca: _ca, ...rest } = options();
    await expect(emailNotifier(rest).deliver(notification)).rejects.toMatchObject({
      code: 'connection-failed',
      retryable: false,
    });
  });

  it.each([
    ['nobody@elsewhere.test', false],
    ['later@example.org', true],
  ])('a mail to %s is not taken, worth another try: %s', async (to, retryable) => {
    await expect(emailNotifier(options({ to })).deliver(notification)).rejects.toMatchObject({
      code: 'delivery-failed',
      retryable,
    });
  });
});
