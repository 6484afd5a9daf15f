/** Serial consoles and the servers that carry them. */
export const serialLimits = {
  /** Bits per second of a serial console. */
  serialBaudRate: 115_200,
  /** One write to a serial console: a machine may have stopped its flow. */
  serialWriteMs: 30_000,
  /** Letting go of a serial console. */
  serialCloseMs: 2_000,
  /** How long a serial break lasts: longer than a character at any baud rate in use. */
  serialBreakMs: 250,
  /** What a serial console has said and nobody has read yet, before it is made to wait. */
  serialBufferBytes: 262_144,
  /** Quiet on the connection to a console server before the system asks whether it is still there. */
  serialKeepaliveMs: 5_000,
  /** How long a console server may take to speak first; one that waits for us is gone on with. */
  serialGreetingMs: 1_000,
  /** How long a telnet server may take to agree on binary; one that does not negotiate is gone on with. */
  serialTelnetAnswerMs: 1_000,
  /** Answers to a console server that it does not read: one that only asks is hung up on. */
  serialUnreadAnswerBytes: 65_536,
  /** Longest telnet subnegotiation that is kept. */
  serialSubnegotiationBytes: 256,
  /** What an exporter says about a device it can't open, as far as it is quoted. */
  serialErrorBytes: 4_096,
} as const;
