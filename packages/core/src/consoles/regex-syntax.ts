/** A regular expression taken apart. */
export type RegexNode =
  | { readonly type: 'char'; readonly test: (code: number) => boolean }
  | { readonly type: 'assert'; readonly test: (text: string, at: number) => boolean }
  | { readonly type: 'sequence'; readonly parts: readonly RegexNode[] }
  | { readonly type: 'choice'; readonly options: readonly RegexNode[] }
  | { readonly type: 'group'; readonly index: number | undefined; readonly body: RegexNode }
  | {
      readonly type: 'repeat';
      readonly body: RegexNode;
      readonly min: number;
      readonly max: number;
      readonly lazy: boolean;
      /** The groups inside of it, from and up to. */
      readonly groups: { readonly from: number; readonly to: number };
    };

/**
 * Takes a well-formed JavaScript expression apart.
 * @throws SyntaxError for look-around, back-references and flags other than `i`, `s`, `g`, `y`, `d`.
 */
export function parseRegex(source: string, flags: string): { readonly root: RegexNode; readonly groups: number } {
  if (/[^isgyd]/.test(flags)) throw new SyntaxError(`flags ${flags} can’t be followed in linear time`);
  return new Parser(source, flags.replaceAll(/[^is]/g, '')).parse();
}

const quantifier = /^(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})(\??)/;
const escape = /^\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|c[A-Za-z]|[^])/;
const characterClass = /^\[(?:\\[^]|[^\]\\])*\]/;
const isWord = (text: string, at: number): boolean => /^\w$/.test(text.charAt(at));

class Parser {
  readonly #flags: string;
  readonly #tests = new Map<string, (code: number) => boolean>();
  #rest: string;
  #groups = 0;

  constructor(source: string, flags: string) {
    this.#rest = source;
    this.#flags = flags;
  }

  parse(): { readonly root: RegexNode; readonly groups: number } {
    const root = this.#choice();
    if (this.#rest !== '') throw new SyntaxError('unmatched )');
    return { root, groups: this.#groups };
  }

  #choice(): RegexNode {
    const options = [this.#sequence()];
    while (this.#take('|')) options.push(this.#sequence());
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { type: 'choice', options };
  }

  #sequence(): RegexNode {
    const parts: RegexNode[] = [];
    while (this.#rest !== '' && !/^[|)]/.test(this.#rest)) {
      const from = this.#groups + 1;
      const body = this.#atom();
      const found = quantifier.exec(this.#rest);
      if (found === null) {
        parts.push(body);
        continue;
      }
      this.#rest = this.#rest.slice(found[0].length);
      const [text, low, comma, high, lazy] = found;
      const [min, max] = bounds(text, low, comma, high);
      parts.push({ type: 'repeat', body, min, max, lazy: lazy === '?', groups: { from, to: this.#groups + 1 } });
    }
    return { type: 'sequence', parts };
  }

  #atom(): RegexNode {
    if (this.#take('^')) return { type: 'assert', test: (_text, at) => at === 0 };
    if (this.#take('$')) return { type: 'assert', test: (text, at) => at === text.length };
    if (this.#take(String.raw`\b`))
      return { type: 'assert', test: (text, at) => isWord(text, at - 1) !== isWord(text, at) };
    if (this.#take(String.raw`\B`))
      return { type: 'assert', test: (text, at) => isWord(text, at - 1) === isWord(text, at) };
    if (this.#take('(')) return this.#group();
    const [atom] = escape.exec(this.#rest) ?? characterClass.exec(this.#rest) ?? [this.#rest.charAt(0)];
    if (/^\\(?:[1-9]|k)/.test(atom)) throw new SyntaxError('a back-reference can’t be followed in linear time');
    this.#rest = this.#rest.slice(atom.length);
    return { type: 'char', test: this.#test(atom) };
  }

  #group(): RegexNode {
    let index: number | undefined;
    if (!this.#take('?:')) {
      const name = /^\?<[A-Za-z_$][\w$]*>/.exec(this.#rest);
      if (name !== null) this.#rest = this.#rest.slice(name[0].length);
      else if (this.#rest.startsWith('?')) throw new SyntaxError('look-around can’t be followed in linear time');
      this.#groups += 1;
      index = this.#groups;
    }
    const body = this.#choice();
    if (!this.#take(')')) throw new SyntaxError('missing )');
    return { type: 'group', index, body };
  }

  #take(text: string): boolean {
    if (!this.#rest.startsWith(text)) return false;
    this.#rest = this.#rest.slice(text.length);
    return true;
  }

  /** What one character must be: the runtime's own engine knows, and is asked once a character. */
  #test(atom: string): (code: number) => boolean {
    const known = this.#tests.get(atom);
    if (known !== undefined) return known;
    const regex = new RegExp(`^${/^[{}\]]$/.test(atom) ? `\\${atom}` : atom}$`, this.#flags);
    const answers = new Map<number, boolean>();
    const test = (code: number): boolean => {
      const answer = answers.get(code) ?? regex.test(String.fromCharCode(code));
      answers.set(code, answer);
      return answer;
    };
    this.#tests.set(atom, test);
    return test;
  }
}

function bounds(
  text: string,
  low: string | undefined,
  comma: string | undefined,
  high: string | undefined,
): [number, number] {
  if (low !== undefined)
    return [
      Number(low),
      comma === undefined ? Number(low) : high === '' || high === undefined ? Infinity : Number(high),
    ];
  return [text.startsWith('+') ? 1 : 0, text.startsWith('?') ? 1 : Infinity];
}

/**
 * Whether a backtracking engine takes at most quadratic time: nothing that repeats without bound stands in
 * something that repeats, and only one thing does at all.
 */
export function isHarmless(source: string): boolean {
  const bare = source.replaceAll(/\\[^]/g, 'x').replaceAll(/\[[^\]]*\]/g, 'x');
  const unbounded = bare.match(/[*+]|\{\d+,\}/g)?.length ?? 0;
  const repeatedGroup = /\)(?:[*+]|\{)/.test(bare);
  const counted = bare.match(/[?]|\{\d+,\d+\}/g)?.length ?? 0;
  return !repeatedGroup && unbounded <= 1 && counted <= 8 && !/\{\d{3,}/.test(bare);
}

/**
 * The longest stretch of plain text that every match holds; empty when none is known. Looking for it first
 * spares most lines anything else.
 */
export function requiredText(source: string, flags: string): string {
  if (flags.includes('i')) return '';
  let longest = '';
  let run = '';
  let depth = 0;
  const end = (): void => {
    if (run.length > longest.length) longest = run;
    run = '';
  };
  for (const [token] of source.matchAll(/\\[^]|\[(?:\\[^]|[^\]\\])*\]|[^]/g)) {
    if (token === '|' && depth === 0) return '';
    if (token === '(') depth += 1;
    if (token === ')') depth -= 1;
    if (depth === 0 && /^[A-Za-z0-9 _:;,<>=/'"#@!%&~-]$/.test(token)) run += token;
    else {
      // What a quantifier follows may be missing.
      if (/^[*+?{]$/.test(token)) run = run.slice(0, -1);
      end();
      // What stands in the braces of a count is no text: give up on what follows it.
      if (token === '{') return longest;
    }
  }
  end();
  return longest;
}
