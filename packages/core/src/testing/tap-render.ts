import type { TestNode, TestOutcome } from '../testruns/test-report.ts';

/** How test output is written. */
export interface RenderTapOptions {
  /**
   * `ktap` as the kernel's document describes it, `kunit` as KUnit prints it, `kselftest` with the
   * tests' own output behind `# `, `tap14` with "Subtest" comments and YAML blocks. Default `ktap`.
   */
  readonly style?: 'ktap' | 'kunit' | 'kselftest' | 'tap14';
  /** With a time stamp before each line, as the kernel's own output has. Default false. */
  readonly printk?: boolean;
  /** Default `\n`; a serial console says `\r\n`. */
  readonly lineEnd?: '\n' | '\r\n';
}

const verdicts: { readonly [Outcome in Exclude<TestOutcome, 'missing'>]: readonly [start: string, directive: string] } =
  {
    pass: ['ok', ''],
    fail: ['not ok', ''],
    skip: ['ok', 'SKIP'],
    todo: ['not ok', 'TODO'],
    xfail: ['not ok', 'XFAIL'],
    timeout: ['not ok', 'TIMEOUT'],
    error: ['not ok', 'ERROR'],
  };

const styles = {
  ktap: { version: 'KTAP version 1', indent: '  ' },
  kunit: { version: 'KTAP version 1', indent: '    ' },
  kselftest: { version: 'TAP version 13', indent: '# ' },
  tap14: { version: 'TAP version 14', indent: '    ' },
} as const;

/**
 * Writes tests as (K)TAP, the opposite of `parseTap`; a `missing` test is planned and left out. For
 * machines that a test plays.
 */
export function renderTap(tests: readonly TestNode[], options: RenderTapOptions = {}): string {
  const style = options.style ?? 'ktap';
  const { lineEnd = '\n', printk = false } = options;
  const lines = [...renderGroup(tests, style, '', undefined)];
  return lines.map((line, index) => `${printk ? printkPrefix(index) : ''}${line}${lineEnd}`).join('');
}

/** A message that cuts into output. */
export interface KernelMessage {
  /** Where, in characters from the start of the output. */
  readonly at: number;
  readonly text: string;
}

/** Lets kernel messages cut into output as they do on a console: anywhere, each a whole line. */
export function cutInKernelMessages(output: string, messages: readonly KernelMessage[]): string {
  let from = 0;
  let text = '';
  for (const [index, message] of messages.toSorted((a, b) => a.at - b.at).entries()) {
    const at = Math.min(message.at, output.length);
    text += `${output.slice(from, at)}${printkPrefix(index)}${message.text}\r\n`;
    from = at;
  }
  return text + output.slice(from);
}

function* renderGroup(
  tests: readonly TestNode[],
  style: keyof typeof styles,
  margin: string,
  name: string | undefined,
): Generator<string> {
  const { version, indent } = styles[style];
  if (style !== 'tap14' || name === undefined) yield margin + version;
  if (style === 'kunit' && name !== undefined) yield `${margin}# Subtest: ${name}`;
  yield `${margin}1..${tests.length}`;
  for (const [index, test] of tests.entries()) {
    if (test.outcome === 'missing') continue;
    if (test.children.length > 0) {
      if (style === 'tap14') yield `${margin}# Subtest: ${test.name}`;
      yield* renderGroup(test.children, style, margin + indent, test.name);
    }
    for (const line of test.diagnostics) yield `${margin}# ${line}`;
    const [start, directive] = verdicts[test.outcome];
    const comment = [directive, test.reason ?? ''].filter((part) => part !== '').join(' ');
    const escaped = test.name.replaceAll(/[\\#]/g, String.raw`\$&`);
    yield `${margin}${start} ${index + 1} ${style === 'tap14' ? '- ' : ''}${escaped}${comment === '' ? '' : ` # ${comment}`}`;
    if (style === 'tap14' && test.durationSeconds !== undefined) {
      yield* ['---', `duration_ms: ${test.durationSeconds * 1000}`, '...'].map((line) => `${margin}  ${line}`);
    }
  }
}

function printkPrefix(index: number): string {
  return `[${(1 + index / 1000).toFixed(6).padStart(12)}] `;
}
