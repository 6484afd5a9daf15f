import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** A relay box as it stands in the lab, on this machine's loopback. */
export class RelayBoxServer implements AsyncDisposable {
  /** Whether each channel's contact is closed. */
  readonly closed = new Map<string, boolean>();
  /** Its contacts stick: it takes requests and switches nothing. */
  stuck = false;
  /** Requests it was working on at the same time, at most. */
  busiest = 0;
  readonly #server: Server;
  #busy = 0;

  private constructor(token: string | undefined) {
    this.#server = createServer((request, response) => void this.#answer(request, response, token));
  }

  async #answer(request: IncomingMessage, response: ServerResponse, token: string | undefined): Promise<void> {
    this.busiest = Math.max(this.busiest, (this.#busy += 1));
    const body = await text(request);
    const channel = /^\/relays\/([1-8])$/.exec(request.url ?? '')?.[1];
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) response.writeHead(401);
    else if (channel === undefined) response.writeHead(404);
    else {
      if (request.method === 'PUT' && !this.stuck) {
        this.closed.set(channel, (JSON.parse(body) as { closed: boolean }).closed);
      }
      response.write(JSON.stringify({ closed: this.closed.get(channel) ?? false }));
    }
    this.#busy -= 1;
    response.end();
  }

  static async start(token?: string): Promise<RelayBoxServer> {
    const box = new RelayBoxServer(token);
    box.#server.listen(0, '127.0.0.1');
    await once(box.#server, 'listening');
    return box;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Takes it off the network. */
  async unplug(): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unplug();
  }
}
