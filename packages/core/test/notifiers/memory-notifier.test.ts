import { memoryNotifier, notifierContract } from '@bringup/core/testing';

notifierContract({
  name: 'memory',
  setup: async () => {
    const notifier = memoryNotifier();
    return {
      notifier,
      received: async () => notifier.received.map(({ id, alert }) => ({ id, text: alert.message })),
      refuse: (how) => void (notifier.fault = how === 'for-now' ? 'refusing' : 'closed'),
      accept: () => void (notifier.fault = 'none'),
      hang: () => void (notifier.fault = 'hanging'),
      disconnect: () => void (notifier.fault = 'unreachable'),
      dispose: () => notifier[Symbol.asyncDispose](),
    };
  },
});
