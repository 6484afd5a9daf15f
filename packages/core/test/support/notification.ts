import type { Notification } from '@bringup/core';

/** An alert about a board that does not answer, as notifiers are given it. */
export const notification: Notification = {
  id: '01notification',
  reason: 'raised',
  alert: {
    id: '01alert',
    type: 'manual-intervention',
    severity: 'critical',
    state: 'open',
    subject: '01board',
    message:
      'board1 did not answer within 180 s after 2 power cycles. Look at the board: its supply, its boot medium, its console.',
    details: { board: 'board1', cycles: 2, code: 'boot-timeout' },
    count: 3,
    raisedAt: Date.UTC(2026, 0, 1, 12),
    lastSeenAt: Date.UTC(2026, 0, 1, 12, 5),
  },
};
