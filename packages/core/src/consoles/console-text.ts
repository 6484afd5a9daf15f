// oxlint-disable no-control-regex -- terminal control characters are what this file is about

/** Escape sequences of ECMA-48 terminals: CSI, OSC and the short forms. */
const escapes =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]/g;
const unfinishedEscape = /(?:\x1b\[|\x9b)[0-?]*[ -/]*$|\x1b[ -/]*$/;
// Those above 0x7f are the same again for terminals of eight bits (ECMA-48, C1): 0x9b is ESC [.
const controls = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;
const allControls = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/** Text as a person sees it: without terminal escapes and without control characters but tab and newline. */
export function cleanConsoleText(text: string): string {
  if (!controls.test(text)) return text;
  return text.replace(unfinishedEscape, '').replace(escapes, '').replace(allControls, '');
}

/** What `printk` puts before a message: level, time, and the caller when CONFIG_PRINTK_CALLER is set. */
export const printkPrefixSource: string = String.raw`(?:<\d{1,3}>)?\[ {0,12}\d{1,10}\.\d{6}\](?:\[ {0,12}[TC]\d{1,10}\])?(?: |$)`;

const printkPrefix = new RegExp(`^(?:${printkPrefixSource}|<\\d{1,3}>)`);
const printkTime = /\[ {0,12}(\d{1,10}\.\d{6})\]/;

/** A kernel message taken apart. */
export interface PrintkLine {
  /** The message without its prefix. */
  readonly message: string;
  /** Seconds since boot, where the line says so. */
  readonly seconds?: number;
  /** Syslog priority from `<N>`, where the line says so. */
  readonly priority?: number;
}

/** Takes a kernel message apart; `undefined` when the line has no `printk` prefix. */
export function parsePrintk(line: string): PrintkLine | undefined {
  const prefix = printkPrefix.exec(line)?.[0];
  if (prefix === undefined) return undefined;
  const seconds = printkTime.exec(prefix)?.[1];
  const priority = /^<(\d+)>/.exec(prefix)?.[1];
  return {
    message: line.slice(prefix.length),
    ...(seconds === undefined ? {} : { seconds: Number(seconds) }),
    ...(priority === undefined ? {} : { priority: Number(priority) }),
  };
}
