import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Secret } from '@bringup/core';
import { canary, credentialFields, leaks } from '../fixtures/canaries.ts';
import { credentialFields as fieldsOfTypes } from './credential-fields.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('every field of the public types that holds a credential has its canary, and none takes one as plain text', () => {
  const { hidden, plain } = fieldsOfTypes();
  expect(hidden).toEqual(credentialFields);
  expect(plain).toEqual([]);
});

test('every canary is put into its field by some test', () => {
  const tests = globSync('{test,packages/*/test}/**/canaries*.test.ts', { cwd: root })
    .map((file) => readFileSync(`${root}${file}`, 'utf8'))
    .join('\n');
  expect(
    credentialFields.filter((field) => !new RegExp(`(?:hidden|canary|useAsCanary)\\('${field}'`).test(tests)),
  ).toEqual([]);
});

test('a canary is found in whatever it is wrapped and however it is written', () => {
  const value = canary('WebhookOptions.secret');
  const told = ['a thing shows WebhookOptions.secret'];
  const cause = Object.assign(new Error('inner'), { config: { headers: [`Bearer ${value}`] } });
  const bytes = Buffer.from(value);
  for (const thing of [
    value,
    bytes,
    new Error('outer', { cause }),
    new Error(`it said ${value}`),
    { deep: { and: { hidden: new Map([['key', bytes]]) } } },
    `Basic ${Buffer.from(`user:${value}`).toString('base64')}`,
    Buffer.from(`ab${value}c`).toString('base64'),
    bytes.toString('hex'),
    JSON.stringify(bytes),
  ]) {
    expect(leaks({ 'a thing': thing })).toEqual(told);
  }
  expect(leaks({ 'a thing': new Secret(value), another: { options: { secret: new Secret(value) } } })).toEqual([]);
});
