/**
 * Serial consoles: ttys of this machine, RFC 2217, telnet and raw TCP, and ttys of an exporter.
 *
 * @module @bringup/connector-serial
 */
import type { ConsoleConnector } from '@bringup/core';
import { SerialConnector, type SerialOptions } from './connector.ts';

export type { SerialOptions };
export type { SerialExporter } from './exporter.ts';

/**
 * Serial consoles of boards, by their device:
 *
 * | device | what it is |
 * |---|---|
 * | `/dev/ttyUSB0` | a tty of this machine; needs the package `serialport` |
 * | `rfc2217://exporter:4001` | a serial port server with baud rate, framing and breaks (RFC 2217) |
 * | `telnet://server:2001` | a terminal server; the port's settings are its own |
 * | `tcp://server:2001`, `unix:///run/qemu.sock` | bytes as they are: ser2net's raw ports, QEMU's chardevs |
 * | `exporter://lab-3/dev/ttyUSB0` | a tty of another machine, over a shell there |
 *
 * Line settings are the URL's query, such as `/dev/ttyUSB0?parity=even&flow=hardware`: `dataBits` (5 to 8),
 * `parity` (`none`, `odd`, `even`, `mark`, `space`), `stopBits` (1, 1.5, 2), `flow` (`none`, `hardware`,
 * `software`), `dtr` and `rts` (`on`, `off`; left alone by default). The baud rate is the board's.
 *
 * @example
 * ```ts
 * await using connector = serial();
 * await using console = await connector.open({ name: 'board-7', device: 'rfc2217://exporter:4001', baudRate: 115200 });
 * await using session = new ConsoleSession({ console });
 * await session.expect([/login: $/]);
 * ```
 */
export function serial(options: SerialOptions = {}): ConsoleConnector {
  return new SerialConnector(options);
}
