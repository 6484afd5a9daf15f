import type { CallOptions } from '../contracts/runtime.ts';
import type { ByteSource, TransferProgress } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { inBlocks } from './in-blocks.ts';
import type { ByteTap } from './byte-tap.ts';
import type { ConsoleSession } from './console-session.ts';

/** YMODEM's control bytes (Chuck Forsberg, XMODEM/YMODEM protocol reference, 1988). */
const SOH = 0x01;
const STX = 0x02;
const EOT = 0x04;
const ACK = 0x06;
const NAK = 0x15;
const CAN = 0x18;
const SUB = 0x1a;
const wantsCrc = 0x43;

const blockBytes = 1_024;
const headerBytes = 128;

/** Options of {@link sendYmodem}. */
export interface YmodemOptions extends CallOptions {
  readonly onProgress?: (progress: TransferProgress) => void;
}

/**
 * Sends one file by YMODEM (1K blocks, CRC-16) to a receiver that is waiting for it.
 * @throws `transfer-failed` when the receiver gives up or does not answer; what breaks the console; the signal's reason.
 */
export async function sendYmodem(session: ConsoleSession, source: ByteSource, options: YmodemOptions): Promise<void> {
  await session.raw(async (bytes) => {
    const line = new Line(session, bytes, options.signal);
    try {
      await line.wait(wantsCrc);
      await line.block(SOH, 0, header(source.sizeBytes));
      // Some receivers, U-Boot's among them, ask for the file with no more than their acknowledgement.
      await line.wait(wantsCrc, limits.ymodemPauseMs);
      let sent = 0;
      let number = 0;
      for await (const block of inBlocks(source.read(), blockBytes)) {
        number += 1;
        await line.block(STX, number, pad(block));
        sent += block.length;
        options.onProgress?.({ transferredBytes: sent, totalBytes: source.sizeBytes });
      }
      await line.finish();
    } catch (error) {
      // Two cancels end the receiver's patience.
      await session.send(Uint8Array.of(CAN, CAN, CAN), { timeoutMs: limits.killGraceMs }).catch(() => {});
      throw error;
    }
  });
}

/** The sender's side of the line. */
class Line {
  readonly #session: ConsoleSession;
  readonly #bytes: ByteTap;
  readonly #call: CallOptions;

  constructor(session: ConsoleSession, bytes: ByteTap, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#bytes = bytes;
    this.#call = signal === undefined ? {} : { signal };
  }

  /** Waits for one byte; everything else is noise. With patience, no longer than for that. */
  async wait(wanted: number, patienceMs?: number): Promise<void> {
    for (let noise = 0; noise < limits.ymodemNoiseBytes; noise += 1) {
      const byte = patienceMs === undefined ? await this.#answer() : await this.#byte(patienceMs);
      if (byte === wanted || byte === undefined) return;
    }
    throw noAnswer();
  }

  /** Sends a block until the receiver takes it. */
  async block(start: number, number: number, data: Uint8Array): Promise<void> {
    const sum = crc16(data);
    const frame = Buffer.concat([
      Uint8Array.of(start, number & 0xff, ~number & 0xff),
      data,
      Uint8Array.of(sum >> 8, sum & 0xff),
    ]);
    await this.#until(frame, ACK);
  }

  /** Ends the file, and then the batch with an empty header. */
  async finish(): Promise<void> {
    await this.#until(Uint8Array.of(EOT), ACK);
    await this.wait(wantsCrc);
    await this.block(SOH, 0, new Uint8Array(headerBytes));
  }

  async #until(frame: Uint8Array, wanted: number): Promise<void> {
    for (let attempt = 0; attempt < limits.ymodemAttempts; attempt += 1) {
      await this.#session.send(frame, this.#call);
      if ((await this.#verdict(wanted)) === wanted) return;
    }
    throw new BringupError('transfer-failed', `the receiver refused a block ${limits.ymodemAttempts} times (YMODEM)`, {
      retryable: true,
    });
  }

  /** A receiver that asked more than once before the first block came has more such bytes under way. */
  async #verdict(wanted: number): Promise<number> {
    for (let noise = 0; noise < limits.ymodemNoiseBytes; noise += 1) {
      const answer = await this.#answer();
      if (answer === wanted || answer === NAK) return answer;
    }
    throw noAnswer();
  }

  async #answer(): Promise<number> {
    const byte = await this.#byte(limits.ymodemAnswerMs);
    if (byte !== undefined) return byte;
    throw noAnswer();
  }

  async #byte(timeoutMs: number): Promise<number | undefined> {
    const byte = await this.#bytes.read({ ...this.#call, timeoutMs });
    if (byte === CAN) throw new BringupError('transfer-failed', 'the receiver cancelled (YMODEM)', { retryable: true });
    return byte;
  }
}

function noAnswer(): BringupError {
  return new BringupError('transfer-failed', 'the receiver does not answer (YMODEM)', { retryable: true });
}

/** The first block: name and size. */
function header(sizeBytes: number): Uint8Array {
  const data = Buffer.alloc(headerBytes);
  data.write(`image\0${sizeBytes}`, 'latin1');
  return data;
}

function pad(block: Uint8Array): Uint8Array {
  const data = Buffer.alloc(blockBytes, SUB);
  data.set(block);
  return data;
}

/** CRC-16/XMODEM. */
export function crc16(data: Uint8Array): number {
  let crc = 0;
  for (const byte of data) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
}
