import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { workKinds } from '../../src/model/work.ts';
import { instruments } from '../../src/telemetry/instruments.ts';
import { operations } from '../../src/telemetry/operations.ts';

const page = readFileSync(new URL('../../../../docs/OBSERVABILITY.md', import.meta.url), 'utf8');
const lines = page.split('\n');

it('the table of metrics in docs/OBSERVABILITY.md is what is told', () => {
  const rows = Object.values(instruments).map(({ name, type, unit, attributes, description }) => {
    const told = attributes.map((attribute) => `\`${attribute}\``).join(', ');
    return `| \`${name}\` | ${type} | ${unit} | ${told === '' ? '' : `${told} `}| ${description} |`;
  });
  expect(lines.filter((line) => /^\| `bringup\.[a-z.]+` \| (?:counter|histogram|gauge)/.test(line))).toEqual(rows);
});

it('names are as OpenTelemetry wants them, and each attribute of a metric is explained', () => {
  const all = Object.values(instruments);
  const names = [...all.map(({ name }) => name), ...all.flatMap(({ attributes }) => attributes)];
  for (const name of names) expect(name).toMatch(/^(?:bringup|error)(?:\.[a-z][a-z0-9]*(?:_[a-z0-9]+)*)+$/);
  // A name is no namespace of others.
  for (const name of names) expect(names.filter((other) => other.startsWith(`${name}.`))).toEqual([]);
  for (const attribute of new Set(all.flatMap(({ attributes }) => attributes))) {
    expect(
      lines.some((line) => line.startsWith(`| \`${attribute}\` |`)),
      attribute,
    ).toBe(true);
  }
});

it('lists of values in docs/OBSERVABILITY.md are complete', () => {
  const values = (attribute: string): string[] =>
    (lines.find((line) => line.startsWith(`| \`${attribute}\` |`)) ?? '')
      .split('`')
      .filter((_, at) => at % 2 === 1)
      .slice(1);
  expect(values('bringup.work.kind')).toEqual([...workKinds]);
  expect(values('bringup.connector.type')).toEqual(Object.keys(operations));
});
