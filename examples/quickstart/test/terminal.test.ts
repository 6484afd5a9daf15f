import { describe, expect, test } from 'vitest';
import { Terminal } from '../src/terminal.ts';

function recorded(isTTY: boolean, env: Record<string, string> = {}): { terminal: Terminal; text: () => string } {
  let all = '';
  const stream = { isTTY, columns: 40, write: (text: string) => (all += text) };
  return { terminal: new Terminal(stream, env), text: () => all };
}

function tellEverything(terminal: Terminal): void {
  terminal.heading('Build');
  for (let done = 0; done <= 20; done += 1) terminal.progress('build', done / 20, `${done} of 20`);
  terminal.log('build', 'gcc -c \u001b[31mmain.c');
  terminal.endProgress();
  terminal.table(['test', 'time'], [{ mark: 'fail', cells: ['memory', '3 ms'] }]);
}

describe('without a terminal', () => {
  test('no control code is written', () => {
    const { terminal, text } = recorded(false);
    tellEverything(terminal);
    expect(text()).not.toMatch(/[^\n\P{Cc}]/u);
    expect(text()).toContain('build   │ gcc -c \\x1b[31mmain.c\n');
  });

  test('progress is told five times, not at every step', () => {
    const { terminal, text } = recorded(false);
    tellEverything(terminal);
    expect(text().match(/of 20/g)).toHaveLength(5);
  });
});

describe('on a terminal', () => {
  test('the progress line is drawn in place and stays below the log', () => {
    const { terminal, text } = recorded(true, { NO_COLOR: '1' });
    terminal.progress('build', 0.5);
    terminal.log('build', 'a line');
    const progress = '  build   ██████████████░░░░░░░░░░░░░░';
    expect(text()).toBe(`\r\u001b[K${progress}…\r\u001b[K  build   │ a line\n${progress}…`);
  });

  test('a log line never wraps', () => {
    const { terminal, text } = recorded(true, { NO_COLOR: '1' });
    terminal.log('console', 'x'.repeat(100));
    expect(text().trimEnd()).toHaveLength(40);
  });

  test('NO_COLOR takes the colours away', () => {
    const colored = recorded(true);
    const plain = recorded(true, { NO_COLOR: '1' });
    for (const { terminal } of [colored, plain]) terminal.success('done');
    expect(colored.text()).toContain('\u001b[32m✔\u001b[0m done');
    expect(plain.text()).toBe('  ✔ done\n');
  });
});

test('a table aligns its columns and marks its rows', () => {
  const { terminal, text } = recorded(false);
  terminal.table(
    ['test', 'time'],
    [
      { mark: 'pass', cells: ['heap', '3 ms'] },
      { mark: 'fail', cells: ['memory', '12 ms'] },
    ],
  );
  expect(text()).toBe('    test    time\n  ✔ heap    3 ms\n  ✘ memory  12 ms\n');
});
