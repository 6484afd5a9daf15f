/** What is said on a console: watched, typed, asked of U-Boot. */
export const consoleLimits = {
  /** How long a serial console may take to show that somebody answers on it. */
  consoleProofMs: 15_000,
  /** A boot, from start to the success pattern. */
  bootTimeoutMs: 180_000,
  /** A VM that says nothing at all for this long never speaks. */
  bootSilenceMs: 60_000,
  /** Longest line that console matching looks at; longer ones are matched in their first part only. */
  consoleLineBytes: 4_096,
  /** A console that is quiet this long after a fatal signature has finished its report. */
  bootReportQuietMs: 1_000,
  /** A fatal report that goes on and on is closed after this long. */
  bootReportMaxMs: 10_000,
  /** Lines kept of one failure report. */
  bootReportLines: 200,
  /** Failure reports and warnings kept of one boot. */
  bootReportsMax: 50,
  /** Console text that waits to be looked at by an expect; older text is dropped. */
  consoleWindowBytes: 262_144,
  /** A console that is quiet this long is taken to wait for input. */
  consoleIdleMs: 1_000,
  /** A board that boots and is quiet this long may be typed to: longer than an autoboot takes from one number to the next. */
  consoleBootQuietMs: 2_500,
  /** From opening a console to a shell that answers, login included. */
  consoleShellTimeoutMs: 60_000,
  /** A board's console that was let go of is listened to for so long, so that the next one misses nothing. */
  consoleKeptMs: 30_000,
  /** What it says meanwhile is kept up to this; the oldest goes first. */
  consoleKeptBytes: 1_048_576,
  /** What waits for a slow watcher of a console, up to this; the oldest goes first. */
  consoleWatcherBytes: 1_048_576,
  /** Typed into a console at a time, then its echo is waited for: a UART's FIFO holds 16 bytes. */
  consoleTypeBytes: 16,
  /** A console that has not echoed what was typed within this time does not echo at all. */
  consoleEchoMs: 1_000,
  /** Between two pieces typed into a console that does not echo. */
  consoleTypePauseMs: 10,
  /** A file moves over a console in blocks of this size; one that arrives damaged is sent again. */
  consoleBlockBytes: 6_144,
  /** One such block, at the slowest baud rate in use. */
  consoleBlockTimeoutMs: 60_000,
  /** Further tries of one block. */
  consoleBlockRetries: 5,
  /** From opening a console to U-Boot's prompt, the restart of the board included. */
  ubootTimeoutMs: 60_000,
  /** U-Boot getting an address. */
  ubootNetworkMs: 60_000,
  /** Loading into memory, or checking what is there. */
  ubootLoadMs: 600_000,
  /** Longest line typed into U-Boot: CONFIG_SYS_CBSIZE is 512 on many boards. */
  ubootLineBytes: 500,
  /** What U-Boot loads and writes at a time; it needs that much memory from the load address on. */
  ubootChunkBytes: 16_777_216,
  /** Tries of one block by YMODEM. */
  ymodemAttempts: 10,
  /** How long a receiver of YMODEM may take to ask for the file after it took the header. */
  ymodemPauseMs: 300,
  /** A receiver of YMODEM that says this much beside its answer has none. */
  ymodemNoiseBytes: 65_536,
  /** A receiver of YMODEM that says nothing for this long is gone. */
  ymodemAnswerMs: 10_000,
  /** Longest line typed into a console's shell: busybox drops what goes beyond 1024. */
  consoleInputLineBytes: 1_000,
} as const;
