import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
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
    expect(record({}, section)).toBe('== boot\n: :error::not a command\n');
  });

  // What runners look for: GitHub at the start of a line, until it is told to stop; Azure, TeamCity and GitLab anywhere.
  const commands = [
    /^\s*::[\w-]+.*::/m,
    /##(?:vso|teamcity|section|\w*)\[/,
    /section_(?:start|end):/,
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/,
  ];
  const hostile = fc
    .array(
      fc.constantFrom(
        ...[
          '::',
          'error',
          '::error::x',
          '::set-env name=PATH::',
          '::add-mask::',
          '::stop-commands::a',
          '##vso[task.setvariable variable=a]b',
        ],
        ...[
          '##[error]',
          '##teamcity[',
          '###',
          '#',
          '[',
          'section_start:1:a',
          '\r\u001b[0K',
          '\u001b]0;title\u0007',
          '\n',
          '\r',
          ' ',
          '\u009b2J',
          'vso',
        ],
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join(''));

  it.each(['GITHUB_ACTIONS', 'GITLAB_CI', 'TF_BUILD'])(
    'where %s is set holds no command in what jobs and devices say',
    (runner) => {
      fc.assert(
        fc.property(hostile, (said) => {
          const github = runner === 'GITHUB_ACTIONS';
          // Sections come as lines; what went wrong may have several.
          const lines = record({ [runner]: 'true' }, (log) => log.text(said.replaceAll(/[\r\n]/g, '')));
          const error = record({ [runner]: 'true' }, (log) => log.error(said));
          // GitHub's are switched off in sections, unknown to GitLab, and the one of an error is the job's own.
          const own = github ? /^::error title=bringup::/ : /^\u001b\[31;1m|\u001b\[0m$/gm;
          for (const command of runner === 'TF_BUILD' ? commands : commands.slice(1))
            expect(lines.trimEnd()).not.toMatch(command);
          for (const command of commands)
            expect(error.trimEnd().replaceAll(new RegExp(own, 'gm'), '')).not.toMatch(command);
          if (github) expect(error.trimEnd()).not.toContain('\n');
        }),
        { numRuns: 500 },
      );
    },
  );
});
