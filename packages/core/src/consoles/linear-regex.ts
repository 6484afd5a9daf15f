import { parseRegex, type RegexNode } from './regex-syntax.ts';

type Instruction =
  | { readonly op: 'char'; readonly test: (code: number) => boolean }
  | { readonly op: 'assert'; readonly test: (text: string, at: number) => boolean }
  | { readonly op: 'split'; first: number; second: number }
  | { readonly op: 'jump'; to: number }
  | { readonly op: 'save'; readonly slot: number }
  | { readonly op: 'forget'; readonly from: number; readonly to: number }
  | { readonly op: 'match' };

/** Counted repetitions are written out; an expression that gets larger than this is not taken. */
const maxInstructions = 2_000;

interface Thread {
  readonly pc: number;
  readonly slots: readonly number[];
}

/**
 * A regular expression that takes time linear in the text, whatever the text: all ways to match are
 * followed side by side (Thompson 1968, Pike's captures), never one after the other.
 */
export class LinearRegex {
  readonly #program: Instruction[] = [];
  readonly #groups: number;

  /** @throws RangeError when the expression is too large; SyntaxError when it holds what can't be followed so. */
  constructor(source: string, flags: string) {
    const { root, groups } = parseRegex(source, flags);
    this.#groups = groups;
    this.#emit({ type: 'group', index: 0, body: root });
    this.#push({ op: 'match' });
  }

  /** Where it matches first, as `RegExp.exec` says it: start and end of the match and of each group, -1 for none. */
  exec(text: string): readonly number[] | undefined {
    const slots = Array.from({ length: 2 * (this.#groups + 1) }, () => -1);
    let threads: Thread[] = [];
    let found: readonly number[] | undefined;
    for (let at = 0; at <= text.length; at += 1) {
      const seen = new Set<number>();
      const current: Thread[] = [];
      for (const thread of threads) this.#follow(current, seen, thread.pc, thread.slots, text, at);
      if (found === undefined) this.#follow(current, seen, 0, slots, text, at);
      if (current.length === 0 && found !== undefined) break;
      const code = text.charCodeAt(at);
      threads = [];
      for (const { pc, slots: taken } of current) {
        const instruction = this.#program[pc];
        if (instruction?.op === 'match') {
          // What comes later in the list is a way that is less wanted.
          found = taken;
          break;
        }
        if (instruction?.op === 'char' && at < text.length && instruction.test(code)) {
          threads.push({ pc: pc + 1, slots: taken });
        }
      }
      if (threads.length === 0 && found !== undefined) break;
    }
    return found;
  }

  /** Adds what can be reached without reading a character, in the order in which it is wanted. */
  #follow(list: Thread[], seen: Set<number>, pc: number, slots: readonly number[], text: string, at: number): void {
    if (seen.has(pc)) return;
    seen.add(pc);
    const instruction = this.#program[pc];
    switch (instruction?.op) {
      case 'jump':
        this.#follow(list, seen, instruction.to, slots, text, at);
        return;
      case 'split':
        this.#follow(list, seen, instruction.first, slots, text, at);
        this.#follow(list, seen, instruction.second, slots, text, at);
        return;
      case 'save':
        this.#follow(list, seen, pc + 1, slots.with(instruction.slot, at), text, at);
        return;
      case 'forget':
        this.#follow(list, seen, pc + 1, forgotten(slots, instruction.from, instruction.to), text, at);
        return;
      case 'assert':
        if (instruction.test(text, at)) this.#follow(list, seen, pc + 1, slots, text, at);
        return;
      default:
        list.push({ pc, slots });
    }
  }

  #push(instruction: Instruction): number {
    if (this.#program.length >= maxInstructions) throw new RangeError('the expression is too large');
    return this.#program.push(instruction) - 1;
  }

  #emit(node: RegexNode): void {
    switch (node.type) {
      case 'char':
        this.#push({ op: 'char', test: node.test });
        return;
      case 'assert':
        this.#push({ op: 'assert', test: node.test });
        return;
      case 'sequence':
        for (const part of node.parts) this.#emit(part);
        return;
      case 'choice':
        this.#choice(node.options);
        return;
      case 'group':
        if (node.index === undefined) {
          this.#emit(node.body);
          return;
        }
        this.#push({ op: 'save', slot: 2 * node.index });
        this.#emit(node.body);
        this.#push({ op: 'save', slot: 2 * node.index + 1 });
        return;
      case 'repeat':
        this.#repeat(node);
    }
  }

  #choice(options: readonly RegexNode[]): void {
    const ends: { to: number }[] = [];
    for (const [index, option] of options.entries()) {
      if (index === options.length - 1) {
        this.#emit(option);
        break;
      }
      const split: Instruction = { op: 'split', first: 0, second: 0 };
      split.first = this.#push(split) + 1;
      this.#emit(option);
      const jump: Instruction = { op: 'jump', to: 0 };
      split.second = this.#push(jump) + 1;
      ends.push(jump);
    }
    for (const end of ends) end.to = this.#program.length;
  }

  #repeat({ body, min, max, lazy, groups }: Extract<RegexNode, { type: 'repeat' }>): void {
    const once = (): void => {
      // Each round begins without what the round before has captured.
      if (groups.to > groups.from) this.#push({ op: 'forget', from: 2 * groups.from, to: 2 * groups.to });
      this.#emit(body);
    };
    for (let round = 0; round < min; round += 1) once();
    const splits: Extract<Instruction, { op: 'split' }>[] = [];
    const optional = (): number => {
      const split: Extract<Instruction, { op: 'split' }> = { op: 'split', first: 0, second: 0 };
      const at = this.#push(split);
      if (lazy) split.second = at + 1;
      else split.first = at + 1;
      splits.push(split);
      return at;
    };
    if (max === Infinity) {
      const at = optional();
      once();
      this.#push({ op: 'jump', to: at });
    } else {
      for (let round = min; round < max; round += 1) {
        optional();
        once();
      }
    }
    for (const split of splits) {
      if (lazy) split.first = this.#program.length;
      else split.second = this.#program.length;
    }
  }
}

function forgotten(slots: readonly number[], from: number, to: number): readonly number[] {
  return slots.map((slot, index) => (index >= from && index < to ? -1 : slot));
}
