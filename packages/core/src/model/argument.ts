/** Well-formed UTF-8 beyond ASCII (RFC 3629 §4), or a byte that is no part of such, in a string of bytes. */
const beyondAscii =
  /[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|[\x80-\xff]/g;

/** Bytes that are no text, in an argument. */
const escapes = /([\udc80-\udcff]+)/u;
/** Halves of surrogate pairs that stand for nothing. */
const halves = /[\ud800-\udc7f\udd00-\udfff]/u;

/**
 * Any bytes but NUL as one argument of a command, such as a file name that is no UTF-8. Arguments are text, and
 * each byte that is none stands in it as half of a surrogate pair, `U+DC80` for 0x80 to `U+DCFF` for 0xFF, which no
 * text has. (Python calls it `surrogateescape`, PEP 383.) So such a command can be stored as JSON like any other.
 */
export function argumentOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('latin1')
    .replace(beyondAscii, (found) =>
      found.length === 1 ? String.fromCharCode(0xdc00 + found.charCodeAt(0)) : Buffer.from(found, 'latin1').toString(),
    );
}

/** The bytes a command gets for an argument: its UTF-8, and those that {@link argumentOfBytes} put in. */
export function bytesOfArgument(argument: string): Buffer {
  if (argument.isWellFormed()) return Buffer.from(argument);
  // `latin1` takes the lower byte of each UTF-16 unit, which is the byte it stands for.
  const parts = argument.split(escapes).map((part, index) => Buffer.from(part, index % 2 === 1 ? 'latin1' : 'utf8'));
  return Buffer.concat(parts);
}

/** What keeps a string from being an argument of a command; undefined when nothing does. */
export function argumentFault(argument: string): string | undefined {
  if (argument.includes('\0')) return 'must not contain a NUL character';
  return halves.test(argument)
    ? 'must not contain half of a surrogate pair; for bytes that are no text use argumentOfBytes()'
    : undefined;
}

/** What keeps a string from being a path, or the value of a variable, on a target; undefined when nothing does. */
export function textFault(text: string): string | undefined {
  if (text.includes('\0')) return 'must not contain a NUL character';
  return text.isWellFormed() ? undefined : 'must be text, without half of a surrogate pair';
}
