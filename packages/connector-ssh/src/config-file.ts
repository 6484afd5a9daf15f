import { BringupError, invalidInput } from '@bringup/core';

/** One line of an OpenSSH client configuration; ssh_config(5). */
export interface ConfigLine {
  /** In lower case: `hostname`. */
  readonly keyword: string;
  readonly args: readonly string[];
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  /** For `Include`: the files it names, in order. */
  readonly included?: readonly ConfigFile[];
}

/** A configuration file with those it includes. */
export interface ConfigFile {
  readonly path: string;
  readonly lines: readonly ConfigLine[];
}

/**
 * The lines of a configuration, without comments.
 * @throws `invalid-input` for a keyword without a value, and for a quote that does not end.
 */
export function parseConfig(text: string, file: string): readonly ConfigLine[] {
  return text.split('\n').flatMap((raw, index) => {
    const found = /^[ \t]*("[^"]*"|[^\s="]+)[ \t]*(?:=[ \t]*)?(.*?)[ \t\r\f]*$/.exec(raw);
    const [, keyword = '#', rest = ''] = found ?? [];
    if (keyword.startsWith('#')) return [];
    const at = { keyword: keyword.replaceAll('"', '').toLowerCase(), file, line: index + 1 };
    const args = splitWords(rest);
    if (args === undefined) throw configError(at, 'has a quote that does not end');
    if (args.length === 0) throw configError(at, 'has no value');
    return [{ ...at, args }];
  });
}

/** Words as OpenSSH splits them: quotes, backslashes, and a comment behind; undefined for an open quote. */
function splitWords(text: string): readonly string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const [char = '', next = ''] = [text[at], text[at + 1]];
    const blank = char === ' ' || char === '\t';
    if (word === undefined && blank) continue;
    if (word === undefined && char === '#') break;
    word ??= '';
    if (char === '\\' && (next === "'" || next === '"' || next === '\\' || (quote === '' && next === ' '))) {
      word += next;
      at += 1;
    } else if (quote === '' && blank) {
      words.push(word);
      word = undefined;
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
    } else if (char === quote) {
      quote = '';
    } else {
      word += char;
    }
  }
  if (quote !== '') return undefined;
  return word === undefined ? words : [...words, word];
}

type Place = Pick<ConfigLine, 'keyword' | 'file' | 'line'>;

/** A line that OpenSSH would not take either. */
export function configError(line: Place, message: string): BringupError {
  return invalidInput('SSH configuration', [
    { path: `${line.file}:${line.line}`, message: `${line.keyword} ${message}` },
  ]);
}

/** A line that OpenSSH honours and we can't: leaving it out would lead elsewhere, or trust more. */
export function configUnsupported(line: Place, why: string): BringupError {
  return new BringupError(
    'unsupported',
    `${line.keyword} in ${line.file}:${line.line} can't be honoured: ${why}. Change the line for this host, or give the connector its own \`configFiles\`.`,
    { details: { file: line.file, line: line.line, keyword: line.keyword } },
  );
}
