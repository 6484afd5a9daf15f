import { invalidInput, type InputIssue } from '@bringup/core';

/** How characters travel on the line. */
export interface LineSettings {
  readonly dataBits: 5 | 6 | 7 | 8;
  readonly parity: 'none' | 'odd' | 'even' | 'mark' | 'space';
  readonly stopBits: 1 | 1.5 | 2;
  readonly flow: 'none' | 'hardware' | 'software';
  /** Modem lines that are set when the console is opened; on some boards they are wired to reset. */
  readonly dtr: boolean | undefined;
  readonly rts: boolean | undefined;
}

/** A console's device, taken apart. */
export type DeviceAddress =
  | { readonly type: 'tty'; readonly path: string; readonly settings: LineSettings }
  | { readonly type: 'rfc2217'; readonly host: string; readonly port: number; readonly settings: LineSettings }
  | { readonly type: 'telnet' | 'tcp'; readonly host: string; readonly port: number }
  | { readonly type: 'unix'; readonly path: string }
  | { readonly type: 'exporter'; readonly exporter: string; readonly path: string; readonly settings: LineSettings };

const choices = {
  dataBits: { '5': 5, '6': 6, '7': 7, '8': 8 },
  parity: { none: 'none', odd: 'odd', even: 'even', mark: 'mark', space: 'space' },
  stopBits: { '1': 1, '1.5': 1.5, '2': 2 },
  flow: { none: 'none', hardware: 'hardware', software: 'software' },
  dtr: { on: true, off: false },
  rts: { on: true, off: false },
} as const;

type Setting = keyof typeof choices;

const defaults: LineSettings = {
  dataBits: 8,
  parity: 'none',
  stopBits: 1,
  flow: 'none',
  dtr: undefined,
  rts: undefined,
};

/** The settings that each way to a line can make. */
const settable: Readonly<Record<DeviceAddress['type'], readonly Setting[]>> = {
  tty: ['dataBits', 'parity', 'stopBits', 'flow', 'dtr', 'rts'],
  rfc2217: ['dataBits', 'parity', 'stopBits', 'flow', 'dtr', 'rts'],
  exporter: ['dataBits', 'parity', 'stopBits', 'flow'],
  telnet: [],
  tcp: [],
  unix: [],
};

const telnetPort = 23;

/**
 * Takes a device apart: a path, or a URL of `tcp`, `telnet`, `rfc2217`, `unix` or `exporter`, with line
 * settings as its query.
 * @throws `invalid-input`.
 */
export function parseDevice(device: string): DeviceAddress {
  // oxlint-disable-next-line no-control-regex -- these are the characters to find
  if (/[\u0000-\u001f\u007f]/.test(device)) throw malformed(device);
  if (device.startsWith('/')) {
    const [path = '', query = ''] = split(device, '?');
    return { type: 'tty', path, settings: parseSettings(device, 'tty', query) };
  }
  const url = URL.canParse(device) ? new URL(device) : undefined;
  const type = url?.protocol.slice(0, -1);
  if (url === undefined || url.password !== '' || (url.username !== '' && type !== 'exporter')) throw malformed(device);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const path = decoded(url.pathname);
  if (path === undefined) throw malformed(device);
  const query = url.search.slice(1);
  switch (type) {
    case 'tcp':
    case 'telnet':
    case 'rfc2217': {
      const port = url.port === '' && type === 'telnet' ? telnetPort : Number(url.port);
      if (host === '' || port === 0) throw malformed(device);
      const settings = parseSettings(device, type, query);
      return type === 'rfc2217' ? { type, host, port, settings } : { type, host, port };
    }
    case 'unix':
      parseSettings(device, type, query);
      if (host !== '' || path === '') throw malformed(device);
      return { type, path };
    case 'exporter':
      if (host === '' || path === '' || path === '/') throw malformed(device);
      return { type, exporter: host, path, settings: parseSettings(device, type, query) };
    default:
      throw malformed(device);
  }
}

function parseSettings(device: string, type: DeviceAddress['type'], query: string): LineSettings {
  const issues: InputIssue[] = [];
  const settings: Record<string, unknown> = { ...defaults };
  for (const [name, text] of new URLSearchParams(query)) {
    if (!(settable[type] as readonly string[]).includes(name)) {
      const known = settable[type].join(', ') || 'none';
      issues.push({ path: `device.${name}`, message: `can’t be set on ${device}; there are: ${known}` });
      continue;
    }
    const values: Readonly<Record<string, unknown>> = choices[name as Setting];
    if (Object.hasOwn(values, text)) settings[name] = values[text];
    else issues.push({ path: `device.${name}`, message: `must be one of ${Object.keys(values).join(', ')}` });
  }
  if (issues.length > 0) throw invalidInput('Console', issues);
  return settings as unknown as LineSettings;
}

function split(text: string, at: string): readonly string[] {
  const index = text.indexOf(at);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + at.length)];
}

function decoded(path: string): string | undefined {
  try {
    const text = decodeURIComponent(path);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}

/** There is no login in an address; who gives one all the same does not find it in logs. */
function malformed(device: string): Error {
  return invalidInput('Console', [
    {
      path: 'device',
      message:
        `${JSON.stringify(device.replace(/\/\/.*@/s, '//[secret]@'))} must be a path such as /dev/ttyUSB0, or a URL: rfc2217://HOST:PORT, telnet://HOST, ` +
        `tcp://HOST:PORT, unix:///SOCKET or exporter://NAME/dev/ttyUSB0`,
    },
  ]);
}
