import { limits } from '../limits.ts';
import { describeGaps, mergeRepeated, TapBlock, type OpenTest } from './tap-block.ts';
import { seconds, type TapLine, type TapResult } from './tap-line.ts';
import { hasBadOutcome, type TestNode } from './test-report.ts';

/** What the documents of one run share: bounds and complaints. */
export interface TapRun {
  /** Results so far, of all documents. */
  results: number;
  readonly maxResults: number;
  complain(problem: string): void;
  onResult(test: TestNode, path: readonly string[]): void;
}

/** One (K)TAP document, from its version line on: a stack of groups, the innermost last. */
export class TapDocument {
  readonly #run: TapRun;
  readonly #dialect: 'KTAP' | 'TAP';
  #stack: TapBlock[];
  #pending: string[] = [];
  #yaml: { readonly test: OpenTest; readonly column: number } | undefined;
  #lastTest: { readonly test: OpenTest; readonly column: number } | undefined;
  #bailedOut = false;
  #incomplete = false;

  constructor(run: TapRun, dialect: 'KTAP' | 'TAP', place: { readonly column: number; readonly commented: boolean }) {
    this.#run = run;
    this.#dialect = dialect;
    this.#stack = [new TapBlock(place, undefined)];
  }

  get bailedOut(): boolean {
    return this.#bailedOut;
  }

  /** The outermost group has all it planned. */
  get isComplete(): boolean {
    return this.#root.isComplete;
  }

  get isEmpty(): boolean {
    return this.#stack.length === 1 && this.#root.isEmpty;
  }

  get column(): number {
    return this.#root.column;
  }

  /** Whether a result line is the very next one at its level. */
  expects(line: TapResult): boolean {
    const block = this.#stack.findLast((candidate) => candidate.column <= line.column);
    if (block?.column === line.column) return line.number === undefined || line.number === block.next;
    return !line.commented && line.number === 1;
  }

  /** Whether a result line fits its level, if some before it are missing. */
  allows(line: TapResult): boolean {
    const block = this.#stack.find((candidate) => candidate.column === line.column);
    const number = line.number ?? block?.next ?? 0;
    return block !== undefined && number >= block.next && number <= (block.plan ?? number);
  }

  /** Takes the next line; what it means, or nothing when it is only a diagnostic. */
  accept(text: string, line: TapLine | undefined): void {
    if (this.#takeYaml(text, line)) return;
    if (line === undefined || !this.#take(line)) this.#note(text);
  }

  /** Takes a line that is not part of the document but may explain a failure. */
  note(text: string): void {
    if (!this.isComplete) this.#note(text);
  }

  /** Ends the document: its tests, and whether they are all there. */
  finish(requirePlan: boolean): { readonly tests: TestNode[]; readonly complete: boolean } {
    if (this.#yaml !== undefined) this.#run.complain(`the YAML block of "${this.#yaml.test.name}" has no end`);
    while (this.#stack.length > 1) this.#endInnermost();
    const root = this.#root;
    if (root.ended !== undefined) this.#loseParent(root);
    let complete = this.#fillIn(root, []) && !this.#bailedOut;
    if (root.plan === 0)
      this.#run.complain(`no test was planned${root.planReason === undefined ? '' : `: ${root.planReason}`}`);
    if (root.plan === undefined && requirePlan) {
      complete = false;
      this.#run.complain('the output has no plan, so nobody can tell whether results are missing');
    }
    return { tests: root.tests(), complete: complete && !this.#incomplete };
  }

  get #root(): TapBlock {
    return this.#stack[0] as TapBlock;
  }

  get #top(): TapBlock {
    return this.#stack.at(-1) as TapBlock;
  }

  #take(line: TapLine): boolean {
    if (line.kind === 'bail-out') {
      this.#bailedOut = true;
      this.#run.complain(`the tests bailed out${line.reason === '' ? '' : `: ${line.reason}`}`);
      return true;
    }
    if (line.kind === 'result' && !this.#isCredible(line)) return false;
    const block = this.#enter(line);
    if (block === undefined) return false;
    switch (line.kind) {
      case 'version':
        if (!block.isEmpty) this.#restart(block);
        return true;
      case 'subtest':
        block.announced = line.name;
        if (block.isEmpty) block.name = line.name;
        return true;
      case 'plan':
        this.#plan(block, line.count, line.reason);
        return true;
      case 'result': {
        const isFresh =
          line.number === 1 && block.announced !== undefined && block.find(1) !== undefined && block !== this.#root;
        this.#result(isFresh ? this.#restart(block) : block, line);
        return true;
      }
    }
  }

  /** A line that merely reads like a result, in a comment or from a program, must not become one. */
  #isCredible(line: TapResult): boolean {
    if (line.number === undefined && (this.#dialect === 'KTAP' || line.commented || this.isComplete)) return false;
    const isOpen = this.#stack.some((block) => block.column === line.column);
    return isOpen || line.column < this.#root.column || (!line.commented && (line.number ?? 1) === 1);
  }

  /** The group at the line's column; groups further in have ended, and one may start here. */
  #enter(line: Exclude<TapLine, { kind: 'bail-out' }>): TapBlock | undefined {
    if (line.column > this.#top.column && this.#stack.length >= limits.maxTestDepth) {
      this.#run.complain(`tests are nested deeper than ${limits.maxTestDepth} levels; what is below is left out`);
      this.#incomplete = true;
      return undefined;
    }
    while (this.#stack.length > 1 && this.#top.column > line.column) this.#endInnermost();
    const top = this.#top;
    if (top.column === line.column) return top;
    if (top.column > line.column) {
      // The outer document was under way before the console was read.
      const outer = new TapBlock(line, undefined);
      outer.ended = top;
      this.#stack = [outer];
      return outer;
    }
    if (top.ended !== undefined) this.#loseParent(top);
    const block = new TapBlock(line, top.announced);
    top.announced = undefined;
    this.#stack.push(block);
    return block;
  }

  #plan(block: TapBlock, count: number, reason: string | undefined): void {
    if (block.plan !== undefined && block.announced !== undefined && block.hasResults && block !== this.#root) {
      this.#restart(block).plan = count;
      return;
    }
    block.announced = undefined;
    if (block.plan !== undefined && block.plan !== count) {
      this.#run.complain(`${this.#where(block)} has two plans, 1..${block.plan} and 1..${count}; the first one counts`);
      return;
    }
    block.plan = count;
    block.planReason = reason;
  }

  #result(block: TapBlock, line: TapResult): void {
    if (this.#run.results >= this.#run.maxResults) {
      this.#incomplete = true;
      this.#run.complain(`there are more than ${this.#run.maxResults} results; the rest is left out`);
      return;
    }
    const number = line.number ?? block.next;
    const { ended } = block;
    if (ended?.name !== undefined && ended.name !== line.name && number > block.next) this.#loseParent(block);
    const children = this.#adopt(block, line);
    const diagnostics = this.#takePending();
    this.#run.results += 1;
    block.announced = undefined;
    if (line.contradiction !== undefined) {
      this.#run.complain(`"${line.name}" is ok and ${line.contradiction} at once; it counts as ok`);
    }
    if (block.plan !== undefined && number > block.plan) {
      this.#run.complain(
        `result ${number} "${line.name}" of ${this.#where(block)} is beyond its plan 1..${block.plan}`,
      );
    }
    const repeated = block.find(number);
    if (repeated === undefined) {
      const test = block.add(line, diagnostics, children);
      this.#lastTest = { test, column: line.column };
      this.#run.onResult(test, this.#path(block));
      return;
    }
    this.#run.complain(
      `result ${number} of ${this.#where(block)} was reported twice, as "${repeated.name}" and "${line.name}"`,
    );
    mergeRepeated(repeated, line, children);
  }

  /** The tests of the group that has just ended become those of the result that follows it. */
  #adopt(block: TapBlock, line: TapResult): TestNode[] {
    const { ended } = block;
    if (ended === undefined) return [];
    block.ended = undefined;
    // Whoever skips a test half way does not owe its results.
    if (line.outcome !== 'skip' && !this.#fillIn(ended, [...this.#path(block), line.name])) this.#incomplete = true;
    const children = ended.tests();
    if (line.outcome === 'pass' && children.some(hasBadOutcome)) {
      this.#run.complain(`"${line.name}" says ok, but not all of its tests do`);
    }
    return children;
  }

  /** A group ended and its own result never came. */
  #loseParent(block: TapBlock): void {
    const { ended } = block;
    if (ended === undefined) return;
    block.ended = undefined;
    const number = block.next;
    const name = ended.name ?? `test ${number}`;
    this.#fillIn(ended, [...this.#path(block), name]);
    this.#incomplete = true;
    this.#run.complain(`"${name}" has tests but no result of its own`);
    block.addMissing(number, name, ended.tests(), this.#takePending());
  }

  /** Puts in what is missing against the plan. True when nothing was. */
  #fillIn(block: TapBlock, path: readonly string[]): boolean {
    const gaps = block.missing();
    if (gaps.length === 0) return true;
    const where = path.length === 0 ? '' : `"${path.join('/')}": `;
    this.#run.complain(`${where}results ${describeGaps(gaps)} of 1..${block.plan} are missing`);
    let room = this.#run.maxResults - this.#run.results;
    for (const [first, last] of gaps) {
      for (let number = first; number <= last && room > 0; number += 1, room -= 1) {
        // What was said after the last result is the best clue to why the next one never came.
        block.addMissing(number, `test ${number}`, [], this.#takePending());
        this.#run.results += 1;
      }
    }
    return false;
  }

  #endInnermost(): void {
    const block = this.#stack.pop();
    if (block?.ended !== undefined) this.#loseParentOf(block);
    if (block !== undefined) this.#top.ended = block;
  }

  #loseParentOf(block: TapBlock): void {
    this.#stack.push(block);
    this.#loseParent(block);
    this.#stack.pop();
  }

  /** A new group starts where one is still open: the open one's own result was lost. */
  #restart(block: TapBlock): TapBlock {
    if (block === this.#root) return block;
    const name = block.announced;
    this.#endInnermost();
    this.#loseParent(this.#top);
    const fresh = new TapBlock(block, name);
    this.#stack.push(fresh);
    return fresh;
  }

  #takeYaml(text: string, line: TapLine | undefined): boolean {
    if (this.#yaml !== undefined) {
      const { test, column } = this.#yaml;
      if (/^\s*\.\.\.\s*$/.test(text)) this.#yaml = undefined;
      else if (line !== undefined && line.column <= column) {
        this.#run.complain(`the YAML block of "${test.name}" has no end`);
        this.#yaml = undefined;
        return false;
      } else {
        if (test.diagnostics.length < limits.testDiagnosticLines) test.diagnostics.push(text.trim());
        const told = seconds(text);
        if (told !== undefined) test.durationSeconds = told;
      }
      return true;
    }
    const last = this.#lastTest;
    if (last === undefined || !/^[ \t]+---\s*$/.test(text) || text.search(/\S/) <= last.column) return false;
    this.#yaml = last;
    return true;
  }

  #note(text: string): void {
    if (text.trim() === '') return;
    this.#pending.push(text.replace(/^(?:# |[ \t])*(?:#(?=\s|$))?/, ''));
    if (this.#pending.length >= 2 * limits.testDiagnosticLines)
      this.#pending = this.#pending.slice(-limits.testDiagnosticLines);
  }

  #takePending(): string[] {
    const lines = this.#pending.slice(-limits.testDiagnosticLines);
    this.#pending = [];
    return lines;
  }

  #path(block: TapBlock): string[] {
    const above = this.#stack.slice(1, this.#stack.indexOf(block) + 1);
    return above.map((each) => each.name ?? '').filter((name) => name !== '');
  }

  #where(block: TapBlock): string {
    const path = this.#path(block);
    return path.length === 0 ? 'the tests' : `"${path.join('/')}"`;
  }
}
