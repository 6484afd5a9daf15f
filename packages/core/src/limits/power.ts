/** Boards' power and the devices that switch it. */
export const powerLimits = {
  /** One command to a power outlet: shorter than the lease of who gives it, so that a stale one is over. */
  powerCallMs: 10_000,
  /** Further tries of a command that an outlet did not carry out. */
  powerRetries: 2,
  /** First pause before such a try; doubles each time. */
  powerRetryMs: 1_000,
  /** Giving a board its power back after a change of it that did not come to its end: a clean-up takes no longer. */
  powerGiveBackMs: 35_000,
  /** Work that waits for its turn at a board's power looks by itself this often. */
  powerTurnMs: 5_000,
  /** A device that switches power answers one request within this time, or has not answered. */
  pduRequestMs: 3_000,
  /** An outlet reads back what it was switched to within this time, or has not switched. */
  pduSettleMs: 3_000,
  /** Between two looks at an outlet that was switched. */
  pduPollMs: 250,
  /** Longest answer of a device that is taken. */
  pduAnswerBytes: 262_144,
  /** An SNMP request without an answer is sent again after this. */
  pduSnmpResendMs: 1_000,
  /** Times it is sent again. */
  pduSnmpResends: 2,
  /** A board's power stays off for this long: capacitors have to run dry. */
  powerOffMs: 5_000,
  /** Longest step of a board's power sequence. */
  powerStepMaxMs: 3_600_000,
  /** A board must answer within this time after it got power. */
  boardRecoveryMs: 180_000,
  /** Between two looks whether a board answers again. */
  boardAnswerPollMs: 2_000,
  /** One look whether a board answers. */
  boardAnswerMs: 10_000,
  /** Power cycles before a board that does not come back is left to a person. */
  recoveryCycles: 2,
  /** Entries of one board's power history; the oldest go first. */
  powerHistory: 1_000,
} as const;
