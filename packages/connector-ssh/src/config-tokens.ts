import { join } from 'node:path';
import { configError, type ConfigLine } from './config-file.ts';

/** What OpenSSH's tokens stand for; ssh_config(5), "TOKENS". */
export type Tokens = Readonly<Record<string, string>>;

/** Replaces `%h` and the like. @throws `invalid-input` for a token that has no meaning there. */
export function expandTokens(text: string, tokens: Tokens, line: ConfigLine): string {
  return text.replaceAll(/%(.?)/gsu, (_all, token: string) => {
    const value = token === '%' ? '%' : tokens[token];
    if (value === undefined) throw configError(line, `has the token %${token}, which has no meaning here`);
    return value;
  });
}

/** Replaces `${NAME}` by the variable of this process. @throws `invalid-input` when it is not set. */
export function expandVariables(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
  line: ConfigLine,
): string {
  return text.replaceAll(/\$\{([^}]*)\}/g, (_all, name: string) => {
    const value = env[name];
    if (value === undefined) throw configError(line, `needs the variable ${name}, which is not set`);
    return value;
  });
}

/** `~` and `~/…` as the home folder. @throws `invalid-input` for another account's home. */
export function expandTilde(text: string, home: string, line: ConfigLine): string {
  if (text === '~' || text.startsWith('~/')) return join(home, text.slice(1));
  if (text.startsWith('~')) throw configError(line, `names another account's home (${text}): write the whole path`);
  return text;
}
