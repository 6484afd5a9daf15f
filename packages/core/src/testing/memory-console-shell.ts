/** The machine behind a console, as far as its shell needs it. */
export interface ConsoleShellMachine {
  say(data: string): void;
  input(): AsyncIterable<Uint8Array>;
  run(argv: readonly string[]): Promise<{ readonly exitCode: number; readonly output: string }>;
}

/**
 * Plays a login prompt and root's shell on a guest's console until the guest ends: lists of simple
 * commands with quotes, `$?` and `</dev/null`, which is all that is typed into consoles here.
 */
export async function serveConsoleShell(guest: ConsoleShellMachine): Promise<void> {
  guest.say('memory login: ');
  let loggedIn = false;
  let typed = '';
  let status = 0;
  for await (const chunk of guest.input()) {
    for (const character of Buffer.from(chunk).toString('utf8')) {
      // ^C: the line is dropped.
      if (character === '\x03') {
        typed = '';
        guest.say(loggedIn ? '^C\r\n# ' : '^C\r\nmemory login: ');
        continue;
      }
      // ^U: so is what there is of this line.
      if (character === '\x15') {
        typed = typed.slice(0, typed.lastIndexOf('\n') + 1);
        continue;
      }
      guest.say(character === '\n' ? '\r\n' : character);
      typed += character;
      if (character !== '\n') continue;
      if (!loggedIn) {
        loggedIn = typed.trim() !== '';
        typed = '';
        guest.say(loggedIn ? '# ' : 'memory login: ');
        continue;
      }
      const commands = parse(typed);
      if (commands === undefined) {
        guest.say('> ');
        continue;
      }
      typed = '';
      for (const words of commands) {
        const { exitCode, output } = await guest.run(words.map((word) => word.replaceAll(lastStatus, String(status))));
        guest.say(output.replaceAll('\n', '\r\n'));
        status = exitCode;
      }
      guest.say('# ');
    }
  }
}

/** Stands for `$?` until the command before has ended. */
const lastStatus = '\0status\0';

/** The commands of an input; undefined while a quote is open. */
function parse(input: string): readonly (readonly string[])[] | undefined {
  const commands: string[][] = [[]];
  let word: string | undefined;
  const endWord = (): void => {
    if (word !== undefined && word !== '</dev/null') commands.at(-1)?.push(word);
    word = undefined;
  };
  for (let at = 0; at < input.length; at += 1) {
    const character = input.charAt(at);
    if (character === "'" || character === '"') {
      const end = input.indexOf(character, at + 1);
      if (end < 0) return undefined;
      const quoted = input.slice(at + 1, end);
      word = (word ?? '') + (character === '"' ? quoted.replaceAll('$?', lastStatus) : quoted);
      at = end;
    } else if (character === '\\') {
      at += 1;
      word = (word ?? '') + input.charAt(at);
    } else if (character === ';' || character === '\n') {
      endWord();
      commands.push([]);
    } else if (/\s/.test(character)) endWord();
    else word = (word ?? '') + character;
  }
  endWord();
  return commands.filter((words) => words.length > 0);
}
