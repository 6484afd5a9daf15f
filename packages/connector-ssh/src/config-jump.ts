import { configError, type ConfigLine } from './config-file.ts';

/** One host of `ProxyJump`. */
export interface JumpHost {
  readonly hostname: string;
  readonly username?: string;
  readonly port?: number;
}

/**
 * The hosts of a `ProxyJump` line: `[user@]host[:port]` or `ssh://…`, with commas between; none for `none`.
 * @throws `invalid-input`.
 */
export function parseProxyJump(line: ConfigLine, expand: (text: string) => string): readonly JumpHost[] {
  const [value = ''] = line.args;
  if (line.args.length > 1) throw configError(line, 'has more than one value: put commas without blanks between hosts');
  if (value.toLowerCase() === 'none') return [];
  return value.split(',').map((text) => {
    const host = parseHost(expand(text));
    if (host === undefined) throw configError(line, `has ${JSON.stringify(text)}, which is no [user@]host[:port]`);
    return host;
  });
}

function parseHost(text: string): JumpHost | undefined {
  const bare = text.replace(/^ssh:\/\//i, '').replace(/\/$/, '');
  const found = /^(?:(.+)@)?(?:\[([^\]]+)\]|([^@:[\]/]+))(?::(\d{1,5}))?$/.exec(bare);
  if (found === null) return undefined;
  const [, username, address, name, digits] = found;
  const hostname = address ?? name ?? '';
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  // A name that starts with a dash is an option to programs that get it.
  if (hostname.startsWith('-')) return undefined;
  return { hostname, ...(username !== undefined && { username }), ...(port !== undefined && { port }) };
}
