import { configError, configUnsupported, type ConfigLine } from './config-file.ts';
import { matchesPatterns } from './patterns.ts';

/** What `Match` looks at, as far as it is known when its line is read. */
export interface MatchFacts {
  /** As the caller named it. */
  readonly originalHost: string;
  /** After what `HostName` said up to here. */
  readonly host: string;
  readonly user: string;
  readonly localUser: string;
  /** Whether this is the second reading, which `final` asks for. */
  readonly final: boolean;
}

/** Whether a `Match` line asks for the second reading. */
export function asksForFinal(line: ConfigLine): boolean {
  return line.args.some((word) => /^!?final$/i.test(word));
}

/**
 * Whether all criteria of a `Match` line hold.
 * @throws `unsupported` when it comes to `exec`, or to a criterion that is not known.
 */
export function matchHolds(line: ConfigLine, facts: MatchFacts): boolean {
  // `host=name` and `host = name` are `host name`.
  const words = line.args.flatMap((word) => (word === '=' ? [] : splitOnce(word)));
  let holds = true;
  for (let at = 0; at < words.length; at += 1) {
    const word = (words[at] ?? '').toLowerCase();
    const negated = word.startsWith('!');
    const criterion = negated ? word.slice(1) : word;
    const alone = alwaysOrFinal(criterion, facts);
    if (alone !== undefined) {
      holds &&= alone !== negated;
      continue;
    }
    at += 1;
    const value = words[at];
    if (value === undefined) throw configError(line, `has no value for ${criterion}`);
    // As in OpenSSH, nothing is run once the line can't hold any more.
    if (holds && criterion === 'exec') {
      throw configUnsupported(line, 'commands that decide about a configuration are never run (Match exec)');
    }
    if (criterion !== 'exec') holds &&= criterionHolds(line, criterion, value, facts) !== negated;
  }
  return holds;
}

function splitOnce(word: string): readonly string[] {
  const found = /^(!?[a-z]+)=(.*)$/is.exec(word);
  return found === null ? [word] : found.slice(1).filter((part) => part !== '');
}

function alwaysOrFinal(criterion: string, { final }: MatchFacts): boolean | undefined {
  if (criterion === 'all') return true;
  return criterion === 'final' || criterion === 'canonical' ? final : undefined;
}

function criterionHolds(line: ConfigLine, criterion: string, value: string, facts: MatchFacts): boolean {
  const patterns = value.split(',');
  switch (criterion) {
    case 'host':
      return matchesPatterns(value.toLowerCase().split(','), facts.host.toLowerCase());
    case 'originalhost':
      return matchesPatterns(value.toLowerCase().split(','), facts.originalHost.toLowerCase());
    case 'user':
      return matchesPatterns(patterns, facts.user);
    case 'localuser':
      return matchesPatterns(patterns, facts.localUser);
    default:
      throw configUnsupported(line, `the criterion ${criterion} is not known here`);
  }
}
