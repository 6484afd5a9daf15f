import { FailureScanner, type FailureReport, type OpenReport } from '../consoles/failure-report.ts';
import { LineSplitter } from '../consoles/line-splitter.ts';
import { defaultSignatures } from '../consoles/signatures.ts';

/** Notices when the kernel itself fails while tests run: a panic is worth more than missing results. */
export class KernelFailures {
  readonly #splitter = new LineSplitter();
  readonly #scanner = new FailureScanner(defaultSignatures.filter(({ severity }) => severity === 'fatal'));
  #open: OpenReport | undefined;
  #first: FailureReport | undefined;

  /** Takes the next bytes of the console. */
  feed(bytes: Uint8Array): void {
    if (this.#first !== undefined) return;
    for (const line of this.#splitter.feed(bytes)) {
      if (this.#open === undefined) this.#open = this.#scanner.scan(line);
      else if (this.#open.add(line)) {
        this.#first = this.#open.finish();
        return;
      }
    }
  }

  /** The first failure, as far as it was told. */
  get first(): FailureReport | undefined {
    return this.#first ?? this.#open?.finish();
  }
}
