/** A metric as a scraper understands it. */
export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
  }[];
}

const namePattern = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const suffixes: Readonly<Record<string, RegExp>> = { histogram: /^_(?:bucket|sum|count)$/ };

/**
 * A strict reader of https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4): each metric once,
 * HELP and TYPE before its samples, no sample twice, every escape known, a line feed at the end of every line.
 */
export function parsePrometheus(text: string): ParsedFamily[] {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end');
  const families: ParsedFamily[] = [];
  let help: { readonly name: string; readonly text: string } | undefined;
  for (const line of text.split('\n').slice(0, -1)) {
    const [, comment, name = '', rest = ''] =
      new RegExp(`^# (HELP|TYPE) (${namePattern}) ([^\\n]*)$`, 's').exec(line) ?? [];
    if (comment === 'HELP') {
      if (families.some((family) => family.name === name)) throw new Error(`${name} is told twice`);
      help = { name, text: unescape(rest, 'n\\') };
    } else if (comment === 'TYPE') {
      if (help?.name !== name || !/^(?:counter|gauge|histogram)$/.test(rest)) throw new Error(`bad TYPE: ${line}`);
      families.push({ name, type: rest, help: help.text, samples: [] });
    } else {
      addSample(families.at(-1), line);
    }
  }
  return families;
}

function addSample(family: ParsedFamily | undefined, line: string): void {
  const [, name = '', labelText, number = ''] =
    new RegExp(`^(${namePattern})(?:\\{(.*)\\})? ([^ ]+)$`, 's').exec(line) ?? [];
  if (family === undefined || !name.startsWith(family.name)) throw new Error(`a sample of no metric: ${line}`);
  if (!(suffixes[family.type] ?? /^$/).test(name.slice(family.name.length))) throw new Error(`bad name: ${line}`);
  const sample = { name, labels: labelsOf(labelText), value: valueOf(number) };
  const key = ({ name: of, labels }: typeof sample): string =>
    JSON.stringify([of, Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
  if (family.samples.some((other) => key(other) === key(sample))) throw new Error(`told twice: ${line}`);
  family.samples.push(sample);
}

function labelsOf(text: string | undefined): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text ?? '';
  while (rest !== '') {
    const found = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(,(?=.)|$)/s.exec(rest);
    if (found === null) throw new Error(`bad labels: ${rest}`);
    const [all, name = '', value = ''] = found;
    if (Object.hasOwn(labels, name)) throw new Error(`label ${name} is told twice`);
    labels[name] = unescape(value, 'n\\"');
    rest = rest.slice(all.length);
  }
  return labels;
}

function unescape(text: string, known: string): string {
  return text.replaceAll(/\\(.?)/gs, (_, escape: string) => {
    if (escape === '' || !known.includes(escape)) throw new Error(`unknown escape: \\${escape}`);
    return escape === 'n' ? '\n' : escape;
  });
}

function valueOf(text: string): number {
  if (text === '+Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  if (text !== 'NaN' && !/^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/.test(text)) throw new Error(`bad value: ${text}`);
  return Number(text);
}
