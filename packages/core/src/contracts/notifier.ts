import type { Alert } from '../model/alert.ts';
import type { CallOptions } from './runtime.ts';

/** What became of an alert that makes it worth telling. */
export type NotificationReason = 'raised' | 'escalated' | 'resolved';

/** An alert on its way to people. */
export interface Notification {
  /** Unique; the same for every try, so that a receiver can drop what it has had before. */
  readonly id: string;
  readonly reason: NotificationReason;
  readonly alert: Alert;
}

/** Takes alerts out of the process: a webhook, e-mail. */
export interface Notifier extends AsyncDisposable {
  /** Unique among the lab's notifiers; deliveries that are still to be made refer to it. */
  readonly name: string;
  /** Alerts below this severity are not delivered. Default: all are. */
  readonly minSeverity?: Alert['severity'];
  /**
   * Resolves once the receiver has taken it. May be called more than once for the same notification.
   * @throws errors with `retryable` when trying again can help: `connection-failed`, `deadline-exceeded`,
   * `delivery-failed`, `authentication-failed`, `aborted`.
   */
  deliver(notification: Notification, options?: CallOptions): Promise<void>;
}
