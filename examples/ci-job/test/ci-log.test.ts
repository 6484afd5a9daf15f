import { describe, expect, it } from 'vitest';
import { ciLog, type CiLog } from '../src/ci-log.ts';

function record(env: NodeJS.ProcessEnv, use: (log: CiLog) => void): string {
  let said = '';
  use(
    ciLog(
      env,
      (text) => void (said += text),
      () => 1_700_000_000_999,
    ),
  );
  return said;
}

const section = (log: CiLog): void => {
  log.open('boot');
  log.text('::error::not a command');
  log.close();
};

describe('the log of the runner', () => {
  it('folds on GitHub, where nothing that a device prints is taken for a command', () => {
    const said = record({ GITHUB_ACTIONS: 'true' }, section).split('\n');
    const token = said[1]?.replace('::stop-commands::', '') ?? '';
    expect(token).toHaveLength(36);
    expect(said).toEqual([
      '::group::boot',
      `::stop-commands::${token}`,
      '::error::not a command',
      `::${token}::`,
      '::endgroup::',
      '',
    ]);
    expect(record({ GITHUB_ACTIONS: 'true' }, section)).not.toContain(token);
  });

  it('keeps an error of several lines in one annotation on GitHub', () => {
    expect(record({ GITHUB_ACTIONS: 'true' }, (log) => log.error('100 % wrong\nmain.c:1: error'))).toBe(
      '::error title=bringup::100 %25 wrong%0Amain.c:1: error\n',
    );
  });

  it('folds on GitLab', () => {
    expect(record({ GITLAB_CI: 'true' }, section)).toBe(
      '\u001b[0Ksection_start:1700000000:bringup_boot[collapsed=true]\r\u001b[0Kboot\n' +
        '::error::not a command\n' +
        '\u001b[0Ksection_end:1700000000:bringup_boot\r\u001b[0K\n',
    );
  });

  it('is plain anywhere else', () => {
    expect(record({}, section)).toBe('== boot\n::error::not a command\n');
  });
});
