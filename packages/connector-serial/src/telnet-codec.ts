import { limits } from '@bringup/core';

/** Telnet's commands (RFC 854). */
export const telnet = { SE: 240, SB: 250, WILL: 251, WONT: 252, DO: 253, DONT: 254, IAC: 255 } as const;

/** Telnet's options: binary (RFC 856), echo (857), suppress go ahead (858), com port (2217). */
export const telnetOption = { BINARY: 0, ECHO: 1, SUPPRESS_GO_AHEAD: 3, COM_PORT: 44 } as const;

/** A command that came between the data. */
export type TelnetCommand =
  | { readonly verb: 'will' | 'wont' | 'do' | 'dont'; readonly option: number }
  | { readonly verb: 'sub'; readonly option: number; readonly payload: Uint8Array };

const verbs: Readonly<Record<number, 'will' | 'wont' | 'do' | 'dont'>> = {
  [telnet.WILL]: 'will',
  [telnet.WONT]: 'wont',
  [telnet.DO]: 'do',
  [telnet.DONT]: 'dont',
};

const CR = 0x0d;
const LF = 0x0a;
const NUL = 0;

/** Takes telnet's commands out of a stream, in whatever pieces it comes. */
export class TelnetDecoder {
  /** Whether the other side sends binary: outside of it, CR NUL is a CR. */
  binary = false;
  #state: 'data' | 'iac' | 'verb' | 'sub' | 'sub-iac' = 'data';
  #verb = 0;
  #sub: number[] = [];
  #afterCr = false;

  /** The data of the next bytes, and the commands among them. */
  decode(chunk: Uint8Array): { readonly data: Uint8Array; readonly commands: readonly TelnetCommand[] } {
    const data = new Uint8Array(chunk.length);
    const commands: TelnetCommand[] = [];
    let size = 0;
    for (const byte of chunk) {
      const literal = this.#step(byte, commands);
      if (literal === undefined) continue;
      const padding = this.#afterCr && literal === NUL && !this.binary;
      this.#afterCr = literal === CR;
      if (padding) continue;
      data[size] = literal;
      size += 1;
    }
    return { data: data.subarray(0, size), commands };
  }

  /** The byte of data that this byte stands for, if any. */
  #step(byte: number, commands: TelnetCommand[]): number | undefined {
    switch (this.#state) {
      case 'data':
        if (byte !== telnet.IAC) return byte;
        this.#state = 'iac';
        return undefined;
      case 'iac':
        this.#state = 'data';
        if (byte === telnet.IAC) return byte;
        if (byte === telnet.SB) {
          this.#state = 'sub';
          this.#sub = [];
        } else if (verbs[byte] !== undefined) {
          this.#state = 'verb';
          this.#verb = byte;
        }
        return undefined;
      case 'verb': {
        const verb = verbs[this.#verb];
        if (verb !== undefined) commands.push({ verb, option: byte });
        this.#state = 'data';
        return undefined;
      }
      case 'sub':
        if (byte === telnet.IAC) this.#state = 'sub-iac';
        else this.#collect(byte);
        return undefined;
      case 'sub-iac':
        this.#state = 'sub';
        if (byte === telnet.IAC) this.#collect(byte);
        else {
          // Anything but SE is a fault of the other side; the subnegotiation ends all the same.
          this.#state = 'data';
          const [option, ...payload] = this.#sub;
          if (option !== undefined) commands.push({ verb: 'sub', option, payload: Uint8Array.from(payload) });
        }
        return undefined;
    }
  }

  #collect(byte: number): void {
    if (this.#sub.length < limits.serialSubnegotiationBytes) this.#sub.push(byte);
  }
}

/** Data as telnet sends it: IAC doubled and, unless it is sent as binary, a CR alone as CR NUL. */
export function encodeTelnet(data: Uint8Array, binary: boolean): Uint8Array {
  const bytes: number[] = [];
  for (const [at, byte] of data.entries()) {
    bytes.push(byte);
    if (byte === telnet.IAC) bytes.push(telnet.IAC);
    else if (byte === CR && !binary && data[at + 1] !== LF) bytes.push(NUL);
  }
  return Uint8Array.from(bytes);
}

/** A subnegotiation, ready to be sent. */
export function encodeSubnegotiation(option: number, payload: readonly number[]): Uint8Array {
  return Uint8Array.of(
    telnet.IAC,
    telnet.SB,
    option,
    ...payload.flatMap((byte) => (byte === telnet.IAC ? [byte, byte] : [byte])),
    telnet.IAC,
    telnet.SE,
  );
}
