import { describe, expect, it } from 'vitest';
import { limits, parseBlockMap, type BringupError } from '@bringup/core';
import { memoryLab } from '@bringup/core/testing';
import { filenameFault } from '../../src/artifacts/filename.ts';
import { withLimits } from '../support/limits.ts';
import { kernelBuild, kernelPipeline, repositories } from '../support/requests.ts';

/** Code and paths of what a call was refused with; undefined when it was not. */
async function refusal(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => undefined,
    (error: BringupError) => [error.code, ...(error.details['issues'] as { path: string }[]).map(({ path }) => path)],
  );
}

describe('what a program gives', () => {
  it('L-maxFilenameChars: names of artifacts are no longer', () => {
    const name = (chars: number): string => `${'a/'.repeat(chars / 2 - 1)}${'b'.repeat(chars % 2 === 0 ? 2 : 3)}`;
    expect(name(limits.maxFilenameChars)).toHaveLength(limits.maxFilenameChars);
    expect(filenameFault(name(limits.maxFilenameChars))).toBeUndefined();
    expect(filenameFault(`${name(limits.maxFilenameChars)}c`)).toMatch(/longer/);
  });

  it('L-maxTagChars: tags of builds are no longer', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer();
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(id));
    expect(await refusal(lab.artifacts.tagBuild(id, 't'.repeat(limits.maxTagChars)))).toBeUndefined();
    expect(await refusal(lab.artifacts.tagBuild(id, 't'.repeat(limits.maxTagChars + 1)))).toContain('invalid-input');
  });

  it('L-alertTextChars: messages of alerts are no longer', async () => {
    await using lab = await memoryLab({ roles: [] });
    const raise = (chars: number): Promise<unknown> =>
      lab.alerts.raise({ type: 'custom', severity: 'info', subject: '', message: 'm'.repeat(chars) });
    expect(await refusal(raise(limits.alertTextChars))).toBeUndefined();
    expect(await refusal(raise(limits.alertTextChars + 1))).toEqual(['invalid-input', 'message']);
  });

  it('L-maxTestCommands: test runs have no more commands', async () => {
    await using lab = await memoryLab({ roles: [] });
    const submit = (count: number): Promise<unknown> =>
      lab.pipelines.createPipeline({
        ...kernelPipeline,
        tests: {
          from: 'shell',
          commands: Array.from({ length: count }, (_, n) => ({ name: `t${n}`, argv: ['true'] })),
        },
      });
    expect(await refusal(submit(limits.maxTestCommands))).toBeUndefined();
    expect(await refusal(submit(limits.maxTestCommands + 1))).toContain('invalid-input');
  });

  it('L-powerStepMaxMs: steps of a power sequence are no longer', async () => {
    await using lab = await memoryLab();
    const add = (offMs: number): Promise<unknown> => lab.addBoard({ powerSequence: { offMs } });
    expect(await refusal(add(limits.powerStepMaxMs))).toBeUndefined();
    expect(await refusal(add(limits.powerStepMaxMs + 1))).toContain('invalid-input');
  });

  it('L-blockMapBytes: block maps are no larger', async () => {
    const text = '<bmap version="2.0">';
    const read = (): unknown => parseBlockMap(text);
    const fault = (maxBytes: number): Promise<unknown> =>
      withLimits({ blockMapBytes: maxBytes }, async () => {
        try {
          return read();
        } catch (error) {
          return (error as Error).message;
        }
      });
    expect(await fault(text.length)).not.toMatch(/larger/);
    expect(await fault(text.length - 1)).toMatch(/larger/);
  });
});

describe('a page', () => {
  it('L-pageSize: holds as many as were asked for, up to the bound; what is no number of entries is refused', async () => {
    await using lab = await memoryLab({ roles: [] });
    for (let n = 0; n <= limits.pageSize; n += 1) {
      await lab.alerts.raise({ type: 'custom', severity: 'info', subject: `${n}`, message: 'm' });
    }
    const listed = async (limit?: number): Promise<number> =>
      (await lab.alerts.list(limit === undefined ? {} : { limit })).length;
    expect([await listed(), await listed(limits.pageSize), await listed(limits.pageSize + 1), await listed(3)]).toEqual(
      [limits.pageSize, limits.pageSize, limits.pageSize, 3],
    );
    for (const limit of [-1, 1.5, Number.NaN, Infinity]) {
      expect(await refusal(lab.alerts.list({ limit })), `${limit}`).toEqual(['invalid-input', 'limit']);
    }
  });
});
