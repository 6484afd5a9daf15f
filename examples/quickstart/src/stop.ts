/** The wish to stop. */
export interface Stop {
  /** Aborts when the program is to stop. */
  readonly signal: AbortSignal;
  /** The signal that asked for it. */
  readonly received: NodeJS.Signals | undefined;
}

const exitStatus = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Turns Ctrl-C, `kill` and a closed terminal into an abort; a second one ends the process at once. */
export function stopOnSignals(tell: () => void): Stop {
  const controller = new AbortController();
  let received: keyof typeof exitStatus | undefined;
  const onSignal = (signal: keyof typeof exitStatus): void => {
    if (received !== undefined) process.exit(exitStatus[signal]);
    received = signal;
    tell();
    controller.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => onSignal(signal));
  // Whoever read the output has gone (`| head`): there is nobody left to run for.
  process.stdout.on('error', () => {
    received ??= 'SIGHUP';
    controller.abort();
  });
  return {
    signal: controller.signal,
    get received() {
      return received;
    },
  };
}
