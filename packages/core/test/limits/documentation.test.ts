import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { limits } from '@bringup/core';

// UPDATE_LIMITS=1 writes docs/LIMITS.md.
const root = new URL('../../../../', import.meta.url);
const folder = new URL('packages/core/src/limits/', root);
const page = new URL('docs/LIMITS.md', root);

interface Documented {
  readonly name: string;
  readonly meaning: string;
}

interface Room {
  readonly title: string;
  readonly limits: readonly Documented[];
}

/** A file of limits: what the file says of itself, and each limit with the comment above it. */
function readRoom(file: string): Room {
  const text = readFileSync(new URL(file, folder), 'utf8');
  const [head = '', ...rest] = text.split(/^export const .*$/m);
  let meaning = '';
  const found: Documented[] = [];
  for (const [, comment, name] of rest.join('').matchAll(/\/\*\*([^]*?)\*\/|^ {2}(\w+):/gm)) {
    if (comment !== undefined) meaning = plain(comment);
    else if (name !== undefined) found.push({ name, meaning });
  }
  return { title: plain(head.replace(/^import.*$/gm, '').replaceAll(/\/\*\*|\*\//g, '')), limits: found };
}

function plain(comment: string): string {
  return comment
    .replaceAll(/^\s*\*/gm, ' ')
    .replaceAll(/\{@link (?:limits\.)?(\w+)\}/g, '`$1`')
    .replaceAll(/\s+/g, ' ')
    .replaceAll('|', '\\|')
    .trim();
}

const units: readonly (readonly [RegExp, string])[] = [
  [/Ms$/, 'ms'],
  [/Bytes$/, 'bytes'],
  [/Kb$/, 'KiB'],
  [/Mb$/, 'MiB'],
  [/Gb$/, 'GiB'],
  [/Percent$/, '%'],
  [/Seconds$/, 's'],
  [/Celsius$/, '°C'],
  [/Chars$/, 'characters'],
  [/BaudRate$/, 'bit/s'],
];

function row({ name, meaning }: Documented): string {
  const value = limits[name as keyof typeof limits];
  const unit = units.find(([suffix]) => suffix.test(name))?.[1] ?? '';
  return `| \`${name}\` | ${value.toLocaleString('en')} | ${unit} | ${meaning} |`;
}

const rooms = readdirSync(folder).toSorted().map(readRoom);

function render(): string {
  const tables = rooms.map(({ title, limits: of }) =>
    [`## ${title}`, '', '| limit | value | unit | meaning |', '|---|--:|---|---|', ...of.map(row)].join('\n'),
  );
  return `${[
    '# Limits',
    '',
    'Every default and every bound of the SDK, as in `limits` of `@bringup/core`. Units are part of the names. Where',
    'work comes in faster than it can be done, the bound is told by a typed error that says to come again',
    '(`unavailable`, retryable), by making the sender wait, or by dropping the oldest and saying so; which of them, each',
    'line says. This page is written by a test (`UPDATE_LIMITS=1`).',
    '',
    tables.join('\n\n'),
  ].join('\n')}\n`;
}

it('docs/LIMITS.md tells every limit with its value, unit and meaning', () => {
  if (process.env['UPDATE_LIMITS'] === '1') writeFileSync(page, render());
  expect(readFileSync(page, 'utf8')).toBe(render());
});

it('every limit is documented, in one room only', () => {
  const documented = rooms.flatMap((room) => room.limits);
  expect(documented.map(({ name }) => name).toSorted()).toEqual(Object.keys(limits).toSorted());
  expect(documented.filter(({ meaning }) => meaning === '')).toEqual([]);
});
