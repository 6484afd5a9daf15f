import {
  BringupError,
  systemClock,
  throwIfAborted,
  withDeadline,
  type CallOptions,
  type PowerConnector,
  type PowerOutlet,
  type PowerState,
  type PowerSwitchOptions,
  type Secret,
} from '@bringup/core';

/** A request that takes longer has failed. */
const requestTimeoutMs = 5_000;

/**
 * The power of boards behind this lab's own relay box, which speaks HTTP: `GET /relays/N` answers
 * `{"closed": true}`, and `PUT /relays/N` takes the same. A board refers to it as
 * `{ method: 'gpio_relay', relayAddress: 'relay-3.lab:8080', gpioPin: '4' }`.
 *
 * @param options.token - what the box wants to see before it does anything.
 */
export function relay(options: { readonly token?: Secret } = {}): PowerConnector {
  const boxes = new Map<string, RelayBox>();
  return {
    name: 'relay',
    methods: ['gpio_relay'],
    async open({ relayAddress: address, gpioPin: channel }, { signal }: CallOptions = {}): Promise<PowerOutlet> {
      throwIfAborted(signal, 'opening the relay');
      if (address === undefined || channel === undefined || !/^\d+$/.test(channel)) {
        throw new BringupError(
          'invalid-input',
          'a relay needs a relayAddress, and as gpioPin the number of its channel',
        );
      }
      const box = boxes.get(address) ?? new RelayBox(address, options.token);
      boxes.set(address, box);
      return new RelayOutlet(box, channel);
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** One channel of a box: closed is on. */
class RelayOutlet implements PowerOutlet {
  readonly #box: RelayBox;
  readonly #channel: string;
  #disposed = false;

  constructor(box: RelayBox, channel: string) {
    this.#box = box;
    this.#channel = channel;
  }

  on(options?: PowerSwitchOptions): Promise<void> {
    return this.#set('on', options);
  }

  off(options?: PowerSwitchOptions): Promise<void> {
    return this.#set('off', options);
  }

  async state(options?: CallOptions): Promise<PowerState> {
    if (this.#disposed) throw new TypeError('the relay was disposed of');
    return (await this.#box.request('GET', this.#channel, undefined, options)) ? 'on' : 'off';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
  }

  async #set(wanted: 'on' | 'off', options?: PowerSwitchOptions): Promise<void> {
    if (this.#disposed) throw new TypeError('the relay was disposed of');
    await this.#box.request('PUT', this.#channel, { closed: wanted === 'on' }, options);
    // A contact can stick: what counts is what the box reads back.
    const actual = await this.state(options);
    if (actual === wanted) return;
    throw new BringupError('power-failed', `relay ${this.#channel} was switched ${wanted}, but reads back ${actual}`, {
      details: { channel: this.#channel, wanted, actual },
    });
  }
}

/** The box at one address. It answers one request at a time. */
class RelayBox {
  readonly #address: string;
  readonly #token: Secret | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(address: string, token: Secret | undefined) {
    this.#address = address;
    this.#token = token;
  }

  /** Whether the channel is closed. */
  request(
    method: 'GET' | 'PUT',
    channel: string,
    body: object | undefined,
    options: PowerSwitchOptions = {},
  ): Promise<boolean> {
    const what = `asking the relay box at ${this.#address}`;
    return withDeadline(systemClock, what, { timeoutMs: requestTimeoutMs, ...options }, (signal) => {
      const answer = this.#last.then(() => {
        // Its turn may have come late.
        options.beforeSending?.();
        return this.#send(method, channel, body, signal);
      });
      this.#last = answer.catch(() => undefined);
      return answer;
    });
  }

  async #send(method: string, channel: string, body: object | undefined, signal: AbortSignal): Promise<boolean> {
    throwIfAborted(signal, `asking the relay box at ${this.#address}`);
    const headers = this.#token === undefined ? {} : { authorization: `Bearer ${this.#token.reveal()}` };
    const url = `http://${this.#address}/relays/${channel}`;
    const response = await fetch(url, {
      method,
      headers,
      signal,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((cause: unknown) => {
      const message = `the relay box at ${this.#address} can't be reached; is it on, and on this network?`;
      throw new BringupError('connection-failed', message, { cause, retryable: true });
    });
    if (response.status === 401) {
      throw new BringupError('authentication-failed', `the relay box at ${this.#address} refuses the token`);
    }
    const answer: unknown = response.ok ? await response.json().catch(() => undefined) : undefined;
    if (typeof answer === 'object' && answer !== null && 'closed' in answer) return answer.closed === true;
    throw new BringupError(
      'power-failed',
      `the relay box at ${this.#address} answers ${response.status} for ${channel}`,
    );
  }
}
