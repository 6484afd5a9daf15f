import { invalidInput, Secret } from '@bringup/core';
import * as v from 'valibot';

/** Schema of one option. */
export type Field<T> = v.GenericSchema<unknown, T>;

/** Schema of an option that may be left out. */
export type Optional<T> = v.ExactOptionalSchema<Field<T>, undefined>;

/** @throws `invalid-input` with one issue per field. */
export function checked<T>(what: string, schema: v.GenericSchema<unknown, T>, options: unknown): T {
  const result = v.safeParse(schema, options);
  if (result.success) return result.output;
  const issues = new Map<string, string>();
  for (const issue of result.issues) {
    const path = v.getDotPath(issue) ?? '';
    // Valibot's own words hold the input, which can be a password in the wrong place.
    const message = issue.type === 'strict_object' ? unexpected(issue.expected) : issue.message;
    if (!issues.has(path)) issues.set(path, message);
  }
  throw invalidInput(
    what,
    [...issues].map(([path, message]) => ({ path, message })),
  );
}

function unexpected(expected: string | null): string {
  return expected === 'never' ? 'there is no such option' : expected === null ? 'is wrong' : 'is missing';
}

/** An optional field. */
export function optional<T>(field: Field<T>): Optional<T> {
  return v.exactOptional(field);
}

/** A string with something in it. */
export const text: v.GenericSchema<string, string> = v.pipe(
  v.string('must be a string'),
  v.nonEmpty('must not be empty'),
);

/** A password or community. */
export const secret: Field<Secret> = v.instance(Secret, 'must be a Secret: new Secret(…)');

/** A whole number within bounds. */
export function whole(min: number, max: number): Field<number> {
  const message = `must be a whole number from ${min} to ${max}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(min, message), v.maxValue(max, message));
}

/** A time. */
export const milliseconds: Field<number> = v.pipe(
  v.number('must be a number of milliseconds'),
  v.minValue(1, 'must be at least 1 ms'),
);

/** How boards refer to the outlets of a device that can be anything. */
export const methodField: Field<'network_pdu' | 'usb_hub' | 'gpio_relay'> = v.picklist(
  ['network_pdu', 'usb_hub', 'gpio_relay'],
  'must be network_pdu, usb_hub or gpio_relay',
);

/** Host name or address, with its port where that is not the usual one. */
export const hostField: Field<string> = v.pipe(
  v.string('must be a string'),
  v.check((host) => splitHost(host, 1) !== undefined, 'must be a host name or address, with or without a :port'),
);

/** A host and its port; undefined when it is neither a name nor an address. */
export function splitHost(text: string, usual: number): { readonly host: string; readonly port: number } | undefined {
  const found = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+)|([0-9a-f]*:[0-9a-f:.]*:[0-9a-f.]*))(?::(\d{1,5}))?$/i.exec(text);
  const host = found?.[1] ?? found?.[2] ?? found?.[3];
  const port = found?.[4] === undefined ? usual : Number(found[4]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** As {@link splitHost}, for a host that was checked. */
export function hostAndPort(text: string, usual: number): { readonly host: string; readonly port: number } {
  const found = splitHost(text, usual);
  if (found === undefined) throw new TypeError(`'${text}' is no host.`);
  return found;
}

/** A host and its port as they stand in an address: an IPv6 address gets its brackets. */
export function authority({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
