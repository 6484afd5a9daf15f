import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** What the user asked for. */
export interface QuickstartOptions {
  /** Build the BSP of this example, or a Linux kernel. */
  readonly what: 'bsp' | 'linux';
  /** Linux source to build: an absolute path or a git URL. Default: the distribution's. */
  readonly source?: string;
  /** Branch or tag of the source. Default: the repository's own. */
  readonly branch?: string;
  /** Folder, absolute, in which everything is kept. */
  readonly state: string;
}

/** What a command line means. */
export type ParsedOptions =
  | { readonly type: 'run'; readonly options: QuickstartOptions }
  | { readonly type: 'help' }
  | { readonly type: 'mistake'; readonly message: string };

/** How the program is used. */
export const usage = `Takes a source tree through build, deploy, boot and test on this machine.

  npm run quickstart                              the small BSP that comes with the example
  npm run quickstart -- --linux                   the Linux kernel of this distribution
  npm run quickstart -- --source DIR|URL          another Linux source tree or git repository

Options
  --linux             build the kernel of the package linux-source, boot it with a busybox
                      initrd and run a small test suite in it
  --source DIR|URL    the same with this source
  --branch NAME       branch or tag of that source (default: the repository's own)
  --state DIR         where everything is kept (default: .bringup)
  --help              this text

Killed in the middle, it goes on when it is started again. Ctrl-C stops it and puts everything
away. It exits with 0 only if the build, the boot and every test succeeded.
`;

/**
 * Reads a command line.
 * @param folder - relative paths start here.
 */
export function parseOptions(argv: readonly string[], folder: string): ParsedOptions {
  let values: { linux?: boolean; source?: string; branch?: string; state?: string; help?: boolean };
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        linux: { type: 'boolean' },
        source: { type: 'string' },
        branch: { type: 'string' },
        state: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    // Node's message goes on with advice on its own conventions.
    return { type: 'mistake', message: (error as Error).message.split('. ')[0] ?? '' };
  }
  const { source, branch } = values;
  if (values.help === true) return { type: 'help' };
  if (source === '') return { type: 'mistake', message: '--source needs a folder or a git URL' };
  if (branch !== undefined && source === undefined) return { type: 'mistake', message: '--branch needs --source' };
  return {
    type: 'run',
    options: {
      what: values.linux === true || source !== undefined ? 'linux' : 'bsp',
      ...(source !== undefined && { source: isGitUrl(source) ? source : resolve(folder, source) }),
      ...(branch !== undefined && { branch }),
      state: resolve(folder, values.state ?? '.bringup'),
    },
  };
}

/** Whether it is a URL or an scp-like address, and not a path. */
export function isGitUrl(source: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source) || /^[^/]+@[^/]+:/.test(source);
}
