import { argumentOfBytes, bytesOfArgument } from '@bringup/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { ssh } from '../../src/index.ts';

let sshd: Sshd;
beforeAll(async () => {
  sshd = await startSshd();
});
afterAll(() => sshd[Symbol.asyncDispose]());

const tellArguments = 'printf "%s\\0" "$#"; for word do printf "%s\\0" "$word"; done';
/** What shells act on, and bytes that are no text, must be frequent. */
const special = fc.constantFrom(...'\x01\x03\x1b\x7f\t\n\r\'"`$\\!*?#~&;|<>(){}[]%^= -é€😀');
const word = fc.oneof(
  fc.uint8Array({ min: 1, maxLength: 12 }).map(argumentOfBytes),
  fc
    .array(fc.oneof(special, fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })), { maxLength: 12 })
    .map((characters) => characters.join('').replaceAll('\0', '')),
);

it('an argv of any bytes arrives unchanged in a real sh behind a real sshd: 10,000 of them', async () => {
  await using connector = ssh({ knownHosts: [sshd.knownHosts] });
  await using session = await connector.connect(sshd.target);
  const argvs = fc.sample(fc.array(word, { minLength: 1, maxLength: 4 }), { numRuns: 10_000, seed: 20_260_101 });
  expect(argvs.flat().filter((text) => !text.isWellFormed()).length).toBeGreaterThan(5_000);
  // One connection carries several commands at a time, and each command some dozens of argvs.
  const batches = Array.from({ length: 200 }, (_, index) => argvs.slice(index * 50, (index + 1) * 50));
  const told = await Promise.all(
    batches.map((batch) => session.exec(['sh', '-c', tellArguments, 'sh', ...batch.flat()])),
  );
  batches.forEach((batch, index) => {
    const words = batch.flat().map(bytesOfArgument);
    const expected = Buffer.concat([Buffer.from(`${words.length}`), ...words].flatMap((bytes) => [bytes, nul]));
    expect(told[index]?.stdout.equals(expected), `argvs from ${index * 50} on`).toBe(true);
  });
});

const nul = Buffer.of(0);
