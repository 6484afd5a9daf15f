import { randomUUID } from 'node:crypto';

/** What a CI runner shows of the job, in folding sections where it can fold. */
export interface CiLog {
  /** Begins a section. */
  open(title: string): void;
  /** A line that a build or a device has printed. It is data: the runner must not take it for a command. */
  text(line: string): void;
  close(): void;
  /** What a person should see first. */
  error(message: string): void;
}

type Write = (text: string) => void;

/**
 * Data as one line in which no runner finds a command: control characters are gone, and the openings of the
 * commands that are looked for anywhere in a line are broken: Azure's and GitHub's `##[…]` and `##vso[…]`,
 * TeamCity's `##teamcity[…]`, and GitLab's section marks.
 */
export function harmless(line: string): string {
  return line
    .replaceAll('\t', '        ')
    .replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '')
    .replaceAll(/##(?=\w*\[)/g, '# #')
    .replaceAll(/section_(?=(?:start|end):)/g, 'section ');
}

/** As {@link harmless}, for a message of several lines; none of them begins as a command of GitHub's does. */
function harmlessLines(message: string): string {
  return message
    .split(/\r\n|[\r\n]/)
    .map((line) => harmless(line).replace(/^\s*::/, ': :'))
    .join('\n');
}

/** The log that the runner around this process understands, told by the variables that runners set. */
export function ciLog(env: NodeJS.ProcessEnv, write: Write, now: () => number = Date.now): CiLog {
  if (env['GITHUB_ACTIONS'] === 'true') return githubLog(write);
  if (env['GITLAB_CI'] === 'true') return gitlabLog(write, now);
  return plainLog(write);
}

/** https://docs.github.com/actions/reference/workflow-commands-for-github-actions */
function githubLog(write: Write): CiLog {
  // Nobody can print the word that lets commands count again: it is made up here.
  const token = randomUUID();
  const escape = (text: string): string => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
  return {
    open: (title) => write(`::group::${title}\n::stop-commands::${token}\n`),
    text: (line) => write(`${harmless(line)}\n`),
    close: () => write(`::${token}::\n::endgroup::\n`),
    error: (message) => write(`::error title=bringup::${escape(harmlessLines(message))}\n`),
  };
}

/** https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections */
function gitlabLog(write: Write, now: () => number): CiLog {
  let section = '';
  const mark = (what: string): string => `\u001b[0Ksection_${what}:${Math.floor(now() / 1000)}:${section}`;
  return {
    open: (title) => {
      section = `bringup_${title.toLowerCase()}`;
      write(`${mark('start')}[collapsed=true]\r\u001b[0K${title}\n`);
    },
    text: (line) => write(`${harmless(line)}\n`),
    close: () => write(`${mark('end')}\r\u001b[0K\n`),
    error: (message) => write(`\u001b[31;1m${harmlessLines(message)}\u001b[0m\n`),
  };
}

function plainLog(write: Write): CiLog {
  return {
    open: (title) => write(`== ${title}\n`),
    // Whatever runs this: what begins as a command of some runner's does not stay one.
    text: (line) => write(`${harmlessLines(line)}\n`),
    close: () => undefined,
    error: (message) => write(`ERROR: ${harmlessLines(message)}\n`),
  };
}
