const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\\': '\\',
};

/** What `printf FORMAT ARGUMENT...` prints: the format again and again until no argument is left. */
export function formatPrintf(format: string, args: readonly string[]): string {
  const rest = [...args];
  let text = '';
  do {
    const left = rest.length;
    text += format.replace(/\\([0-7]{1,3})|\\([ntrabfv\\])|%([sd%])/g, (_all, octal, letter, conversion) => {
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      if (letter !== undefined) return escapes[letter] ?? '';
      if (conversion === '%') return '%';
      const arg = rest.shift();
      return conversion === 'd' ? String(Math.trunc(Number(arg ?? 0))) : (arg ?? '');
    });
    if (rest.length === left) return text;
  } while (rest.length > 0);
  return text;
}
