import type { TestOutcome } from './test-report.ts';

/** A result line, taken apart. */
export interface TapResult {
  readonly kind: 'result';
  /** Where the line starts, in columns; `# ` before nested kselftest output counts as two. */
  readonly column: number;
  /** The line stands behind `# `, as the output of a test that kselftest runs does. */
  readonly commented: boolean;
  readonly ok: boolean;
  readonly number?: number;
  readonly name: string;
  readonly outcome: TestOutcome;
  readonly reason?: string;
  readonly durationSeconds?: number;
  /** The directive that contradicts "ok" and was not followed. */
  readonly contradiction?: string;
}

/** A line of test output that means something to its structure. */
export type TapLine =
  | TapResult
  | { readonly kind: 'version'; readonly column: number; readonly commented: boolean; readonly dialect: 'KTAP' | 'TAP' }
  | {
      readonly kind: 'plan';
      readonly column: number;
      readonly commented: boolean;
      readonly count: number;
      readonly reason?: string;
    }
  | { readonly kind: 'subtest'; readonly column: number; readonly commented: boolean; readonly name: string }
  | { readonly kind: 'bail-out'; readonly column: number; readonly reason: string };

const margin = /^(?:# |[ \t])*/;
const commentMarker = '# ';
const tabColumns = 4;
const version = /^(K?TAP) version \d{1,4}\s*$/;
/** A program that prints while a prompt stands on the line starts its output behind the prompt. */
const versionAfterPrompt = /(?:^|\s)(K?TAP) version \d{1,4}\s*$/;
const plan = /^1\.\.(\d{1,9})(?:\s+#\s*(.*))?\s*$/;
const subtest = /^# Subtest:\s*(.*)$/;
const bailOut = /^Bail out!\s*(.*)$/;
const result = /^(not )?ok(?:\s+(\d{1,9})(?![\w.])|(?=\s+-\s)|(?=\s*$))(.*)$/;
const directive = /^(SKIP|TODO|XFAIL|XPASS|TIMEOUT|ERROR)(?:PED|ED)?(?![\w=])[:\s]*(.*)$/i;
const duration = /(?:^|[\s(,])(?:time|duration)[=:]\s{0,3}(\d{1,9}(?:\.\d{1,9})?)\s?(ms|s)?(?![\w.])/i;

/** Understands one line of test output; `undefined` for everything that is not structure. */
export function parseTapLine(text: string): TapLine | undefined {
  const { column, commented, body, beforeComment } = takeMargin(text);
  const subtestName = subtest.exec(beforeComment.body)?.[1];
  if (subtestName !== undefined) {
    return {
      kind: 'subtest',
      column: beforeComment.column,
      commented: beforeComment.commented,
      name: subtestName.trim(),
    };
  }
  switch (body[0]) {
    case 'o':
    case 'n':
      return parseResult(body, column, commented);
    case '1': {
      const match = plan.exec(body);
      if (match === null) return undefined;
      const reason = match[2]?.replace(/^skip\w*[:\s]*/i, '').trim();
      return { kind: 'plan', column, commented, count: Number(match[1]), ...(reason ? { reason } : {}) };
    }
    case 'B': {
      const match = bailOut.exec(body);
      return match === null ? undefined : { kind: 'bail-out', column, reason: (match[1] ?? '').trim() };
    }
    default: {
      const plain = version.exec(body);
      if (plain !== null) return { kind: 'version', column, commented, dialect: plain[1] === 'KTAP' ? 'KTAP' : 'TAP' };
      const prompted = text.endsWith('"') ? null : versionAfterPrompt.exec(text);
      return prompted === null
        ? undefined
        : { kind: 'version', column: 0, commented: false, dialect: prompted[1] === 'KTAP' ? 'KTAP' : 'TAP' };
    }
  }
}

/** Whether a line that breaks off here could become structure. */
export function couldBeTap(fragment: string): boolean {
  const body = fragment.replace(margin, '');
  return ['ok ', 'not ok ', '1..', 'KTAP version ', 'TAP version ', 'Bail out!', 'Subtest: '].some(
    (start) => body.startsWith(start) || start.startsWith(body),
  );
}

function parseResult(body: string, column: number, commented: boolean): TapResult | undefined {
  const match = result.exec(body);
  if (match === null) return undefined;
  const ok = match[1] === undefined;
  const number = match[2] === undefined ? undefined : Number(match[2]);
  const rest = (match[3] ?? '').replace(/^\s*-(?=\s|$)/, '').trim();
  const { name, comment } = splitComment(rest);
  const { outcome, reason, contradiction } = judge(ok, comment);
  const durationSeconds = seconds(comment ?? '');
  return {
    kind: 'result',
    column,
    commented,
    ok,
    // kselftest puts what it has to say about a skipped test where others put the name.
    name: name || reason || (number === undefined ? 'test' : `test ${number}`),
    outcome,
    ...(number === undefined ? {} : { number }),
    ...(reason ? { reason } : {}),
    ...(durationSeconds === undefined ? {} : { durationSeconds }),
    ...(contradiction === undefined ? {} : { contradiction }),
  };
}

/** The name ends at the first ` # ` or at a directive; TAP escapes a `#` in a name as `\#`. */
function splitComment(text: string): { readonly name: string; readonly comment: string | undefined } {
  let from = 0;
  for (;;) {
    const at = text.indexOf('#', from);
    if (at < 0) return { name: unescapeName(text), comment: undefined };
    const comment = text.slice(at + 1).trim();
    const separated = at === 0 || /\s/.test(text[at - 1] ?? '');
    if (separated && (/^\s|^$/.test(text.slice(at + 1)) || directive.test(comment))) {
      return { name: unescapeName(text.slice(0, at).trim()), comment };
    }
    from = at + 1;
  }
}

function unescapeName(name: string): string {
  return name.replaceAll(/\\([\\#])/g, '$1');
}

function judge(
  ok: boolean,
  comment: string | undefined,
): { outcome: TestOutcome; reason?: string; contradiction?: string } {
  const match = comment === undefined ? null : directive.exec(comment);
  if (match === null) return { outcome: ok ? 'pass' : 'fail', ...(comment ? { reason: comment } : {}) };
  const word = (match[1] ?? '').toUpperCase();
  const reason = (match[2] ?? '').trim();
  const said = reason === '' ? {} : { reason };
  switch (word) {
    case 'SKIP':
      return { outcome: 'skip', ...said };
    case 'TODO':
      return { outcome: 'todo', ...said };
    case 'XFAIL':
      return { outcome: 'xfail', ...said };
    case 'TIMEOUT':
    case 'ERROR':
      if (ok) return { outcome: 'pass', ...said, contradiction: word };
      return { outcome: word === 'ERROR' ? 'error' : 'timeout', ...said };
    default:
      return { outcome: ok ? 'pass' : 'fail', ...said };
  }
}

/** The duration a comment or a YAML line tells, in seconds. */
export function seconds(text: string): number | undefined {
  const match = duration.exec(text) ?? /(?:^|\s)duration_(ms):\s{0,3}(\d{1,9}(?:\.\d{1,9})?)/.exec(text);
  if (match === null) return undefined;
  const isYaml = match[1] === 'ms';
  const amount = Number(isYaml ? match[2] : match[1]);
  return isYaml || match[2]?.toLowerCase() === 'ms' ? amount / 1000 : amount;
}

interface Margin {
  readonly column: number;
  readonly commented: boolean;
  readonly body: string;
}

/** Takes the indent and `# ` off a line; `beforeComment` leaves the last `# ` on. */
function takeMargin(text: string): Margin & { readonly beforeComment: Margin } {
  const indent = margin.exec(text)?.[0] ?? '';
  const last = indent.lastIndexOf(commentMarker);
  const whole = { column: columns(indent), commented: last >= 0, body: text.slice(indent.length) };
  if (last < 0) return { ...whole, beforeComment: whole };
  const before = indent.slice(0, last);
  return {
    ...whole,
    beforeComment: { column: columns(before), commented: before.includes(commentMarker), body: text.slice(last) },
  };
}

function columns(indent: string): number {
  let column = 0;
  for (const character of indent) column += character === '\t' ? tabColumns : 1;
  return column;
}
