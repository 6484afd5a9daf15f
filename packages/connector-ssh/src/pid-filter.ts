import { pidMarker } from './quote.ts';

/** Start-up files of the account may say something first; more than this is no such thing. */
const maxNoiseBytes = 64 * 1024;

/**
 * Takes the line with the process id, and what start-up files said before it, out of a command's
 * standard error.
 */
export class PidFilter {
  readonly #found: (pid: string | undefined) => void;
  readonly #question: { readonly prompt: string; readonly asked: () => void } | undefined;
  #held: Buffer | undefined = Buffer.alloc(0);

  /**
   * @param found - called once, with undefined when the stream has no process id.
   * @param question - what may be asked before the command begins, and who hears of it each time.
   */
  constructor(
    found: (pid: string | undefined) => void,
    question?: { readonly prompt: string; readonly asked: () => void },
  ) {
    this.#found = found;
    this.#question = question;
  }

  /** What of the stream is the command's own. */
  push(chunk: Buffer): Buffer | undefined {
    if (this.#held === undefined) return chunk;
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#lookForQuestion(this.#held);
    const start = this.#held.indexOf(pidMarker);
    const end = start < 0 ? -1 : this.#held.indexOf('\n', start);
    if (end < 0) return this.#held.length > maxNoiseBytes ? this.end() : undefined;
    const pid = this.#held.toString('latin1', start + pidMarker.length, end);
    const rest = this.#held.subarray(end + 1);
    this.#held = undefined;
    this.#found(/^[1-9][0-9]*$/.test(pid) ? pid : undefined);
    return rest.length === 0 ? undefined : rest;
  }

  #lookForQuestion(held: Buffer): void {
    if (this.#question === undefined) return;
    const at = held.indexOf(this.#question.prompt);
    if (at < 0 || held.indexOf(pidMarker) >= 0) return;
    this.#held = held.subarray(at + this.#question.prompt.length);
    this.#question.asked();
  }

  /** The stream has ended: without a process id, all of it was somebody's message. */
  end(): Buffer | undefined {
    if (this.#held === undefined) return undefined;
    const rest = this.#held;
    this.#held = undefined;
    this.#found(undefined);
    return rest.length === 0 ? undefined : rest;
  }
}
