import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { limits } from '@bringup/core';

const root = join(import.meta.dirname, '../../../..');

/** Times end waits, and the rest of these say from when on something is worth a word: neither holds anything back. */
const noBound = /(?:Ms|Percent|Celsius|Seconds)$/;

/** What is no bound either: nothing is kept, sent, tried or looked at less for it. */
const others: Readonly<Record<string, readonly string[]>> = {
  'sizes of pieces: more is done in more of them': [
    'artifactFlushBytes',
    'artifactRemovalBatch',
    's3PartBytes',
    's3PartMinBytes',
    's3CopyBytes',
    'consoleReadBytes',
    'fileChunkBytes',
    'leftBuildsBatch',
    'ubootChunkBytes',
    'waitingShapesPage',
    'sqliteCheckpointPages',
    'selectionScored',
    'selectionLeastLoaded',
  ],
  'defaults and thresholds': [
    'artifactKeepLatest',
    'buildMinCpuCores',
    'buildMinMemoryMb',
    'buildMinStorageGb',
    'buildTimeMemory',
    'commitPrefixDigits',
    'healthClearLooks',
    'healthConnectivityLooks',
    'healthConnectivityFailures',
    'healthVisibleStorageGb',
    'healthMinFreeStorageGb',
    'serialBaudRate',
    'sshKeepaliveCount',
    'statusEventLag',
    'statusFreeBytes',
  ],
};

it('every bound is named by a test that goes to it and beyond', () => {
  const named = new Set(
    testFiles().flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/\b(?:limits\.|L-)(\w+)/g)].map(([, name]) => name ?? ''),
    ),
  );
  const known = new Set(Object.values(others).flat());
  const bounds = Object.keys(limits).filter((name) => !noBound.test(name) && !known.has(name));
  expect(bounds.filter((name) => !named.has(name))).toEqual([]);
  expect([...known].filter((name) => !Object.hasOwn(limits, name))).toEqual([]);
});

function testFiles(): string[] {
  const folders = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name, 'test'));
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.test.ts') && !file.endsWith('ledger.test.ts'))
      .map((file) => join(folder, file)),
  );
}
