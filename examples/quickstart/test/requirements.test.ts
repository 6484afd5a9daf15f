import { expect, test, vi } from 'vitest';
import { ensureRequirements, type Requirement } from '../src/requirements.ts';

const there: Requirement = { label: 'there', aptPackage: 'there', isPresent: () => Promise.resolve(true) };
const missing: Requirement = { label: 'flux', aptPackage: 'flux-compiler', isPresent: () => Promise.resolve(false) };

async function ensure(requirements: readonly Requirement[], uid: number): Promise<{ ok: boolean; said: string }> {
  const said: string[] = [];
  const getuid = vi.spyOn(process, 'getuid').mockReturnValue(uid);
  try {
    const ok = await ensureRequirements(requirements, { say: (text) => said.push(text), onLine: () => {} });
    return { ok, said: said.join('\n') };
  } finally {
    getuid.mockRestore();
  }
}

test('a machine that has everything hears nothing about it', async () => {
  expect(await ensure([there], 1000)).toEqual({ ok: true, said: '' });
});

test('somebody who may not install is told what is missing and what brings it', async () => {
  const { ok, said } = await ensure([there, missing], 1000);
  expect(ok).toBe(false);
  expect(said).toContain('Missing on this machine: flux.');
  expect(said).toContain('flux-compiler');
  expect(said).toContain('run the same again');
});
