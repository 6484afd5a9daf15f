import type { Console } from '../contracts/console.ts';

/**
 * Reads a console in the background and keeps all of it, so that tests can wait for what it says.
 * Waits end with the test's own timeout.
 */
export class ConsoleReader {
  /** Settles when the output has ended; rejects with what the output throws. */
  readonly ended: Promise<void>;
  readonly #chunks: Uint8Array[] = [];
  #wake = Promise.withResolvers<void>();
  #open = true;

  constructor(console: Console) {
    this.ended = this.#read(console.output);
    this.ended.catch(() => {});
  }

  /** Everything it has said so far. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** {@link ConsoleReader.bytes} as Latin-1: one character a byte. */
  get text(): string {
    return this.bytes.toString('latin1');
  }

  /** Waits until it has said `text`, and gives all it has said. @throws Error when it ends without. */
  async until(text: string): Promise<string> {
    while (!this.text.includes(text)) {
      if (!this.#open) {
        await this.ended;
        throw new Error(`The console ended without ${JSON.stringify(text)}; it said ${JSON.stringify(this.text)}`);
      }
      await this.#wake.promise;
    }
    return this.text;
  }

  async #read(output: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of output) {
        this.#chunks.push(chunk);
        this.#wake.resolve();
        this.#wake = Promise.withResolvers();
      }
    } finally {
      this.#open = false;
      this.#wake.resolve();
    }
  }
}
