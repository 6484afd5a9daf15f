import { telnet, type TelnetCommand } from './telnet-codec.ts';

type Agreement = 'no' | 'asked' | 'yes' | 'refused';

/** Which options are used in one direction. */
class Side {
  readonly #states = new Map<number, Agreement>();

  get(option: number): Agreement {
    return this.#states.get(option) ?? 'no';
  }

  set(option: number, state: Agreement): void {
    this.#states.set(option, state);
  }
}

/**
 * Negotiates telnet's options (RFC 1143 in short): what was asked for is not answered again, and what is
 * agreed on already is not confirmed, so that two sides never go on confirming for ever.
 */
export class TelnetOptions {
  readonly #ours = new Side();
  readonly #theirs = new Side();
  readonly #wanted: { readonly ours: readonly number[]; readonly theirs: readonly number[] };
  readonly #send: (bytes: Uint8Array) => void;

  /** @param wanted - what each side may do; everything else is refused. */
  constructor(
    wanted: { readonly ours: readonly number[]; readonly theirs: readonly number[] },
    send: (bytes: Uint8Array) => void,
  ) {
    this.#wanted = wanted;
    this.#send = send;
  }

  /** Offers to do something, unless it was agreed on already: nobody answers that. */
  offer(option: number): void {
    if (this.#ours.get(option) === 'yes') return;
    this.#ours.set(option, 'asked');
    this.#say(telnet.WILL, option);
  }

  /** Asks the other side to do something, unless it was agreed on already. */
  ask(option: number): void {
    if (this.#theirs.get(option) === 'yes') return;
    this.#theirs.set(option, 'asked');
    this.#say(telnet.DO, option);
  }

  /** What has become of an option that we do. */
  ours(option: number): Agreement {
    return this.#ours.get(option);
  }

  /** What has become of an option that the other side does. */
  theirs(option: number): Agreement {
    return this.#theirs.get(option);
  }

  /** Takes a command of the other side and answers it. */
  hear({ verb, option }: TelnetCommand): void {
    if (verb === 'will') this.#agree(this.#theirs, this.#wanted.theirs, option, [telnet.DO, telnet.DONT]);
    else if (verb === 'do') this.#agree(this.#ours, this.#wanted.ours, option, [telnet.WILL, telnet.WONT]);
    else if (verb === 'wont') this.#refuse(this.#theirs, option, telnet.DONT);
    else if (verb === 'dont') this.#refuse(this.#ours, option, telnet.WONT);
  }

  #agree(side: Side, wanted: readonly number[], option: number, [yes, no]: readonly [number, number]): void {
    const before = side.get(option);
    if (before === 'yes') return;
    if (!wanted.includes(option)) {
      this.#say(no, option);
      return;
    }
    side.set(option, 'yes');
    if (before !== 'asked') this.#say(yes, option);
  }

  #refuse(side: Side, option: number, confirm: number): void {
    if (side.get(option) === 'yes') this.#say(confirm, option);
    side.set(option, 'refused');
  }

  #say(verb: number, option: number): void {
    this.#send(Uint8Array.of(telnet.IAC, verb, option));
  }
}
