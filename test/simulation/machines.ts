import { createHash } from 'node:crypto';
import {
  memoryGuests,
  type MemoryBoot,
  type MemoryBuildFunction,
  type MemoryLab,
  type MemoryRepository,
} from '@bringup/core/testing';
import type { Plan, WorkItem } from './plan.ts';

type PipelineItem = Extract<WorkItem, { readonly kind: 'pipeline' }>;

/** What the machines of a run have said: by what said it, once for each time it began to speak. */
export type Said = Map<string, string[]>;

/** How the machines of a run behave, and what they really said. */
export interface Scenery {
  readonly repositories: Readonly<Record<string, MemoryRepository>>;
  readonly build: MemoryBuildFunction;
  readonly guest: MemoryBoot;
  /** The guest of a board, whatever it was flashed with. */
  readonly boardGuest: MemoryBoot;
  /** By VM name, or `board:NAME`, what a guest said that was booted whole. */
  readonly consoles: Said;
  /** All that a board has said, one that was flashed by halves included. */
  saidBy(board: string): string;
  /** By the build's folder. */
  readonly buildLogs: Said;
  /** Builds that run now, and where. */
  readonly building: ReadonlySet<string>;
  /** Those that began where somebody had said before that they are over. */
  readonly late: ReadonlySet<string>;
  /** Connects what was registered with it. */
  watch(lab: MemoryLab): void;
}

const commitOf = (id: string): string => createHash('sha256').update(id).digest('hex').slice(0, 40);
const kernelOf = (id: string): string => `kernel of ${commitOf(id)}\n`;
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Where the servers have the folders of builds. */
export const buildsFolder = '/root/.bringup/builds';

/** Where a pipeline's source is. */
export function repositoryOf(id: string): string {
  return `https://git.example/${id}.git`;
}

/** Machines that do what the plan's pipelines are fated to. Each pipeline has its own source, so its own image. */
export function scenery(plan: Plan): Scenery {
  const pipelines = plan.work.filter((item) => item.kind === 'pipeline');
  const byRepository = new Map(pipelines.map((item) => [repositoryOf(item.id), item]));
  const byImage = new Map(pipelines.map((item) => [sha256(kernelOf(item.id)), item]));
  const consoles: Said = new Map();
  const buildLogs: Said = new Map();
  const building = new Set<string>();
  const late = new Set<string>();
  let lab: MemoryLab | undefined;
  let boots = 0;
  const begin = (said: Said, key: string): ((text: string) => void) => {
    const lives = said.get(key) ?? [];
    said.set(key, lives);
    const index = lives.push('') - 1;
    return (text) => {
      lives[index] = (lives[index] ?? '') + text;
    };
  };
  const play = (key: string, item: PipelineItem | undefined): MemoryBoot => {
    const heard = begin(consoles, key);
    boots += 1;
    const boot = boots;
    return (guest) => {
      const recorded = {
        ...guest,
        say: (data: string | Uint8Array) => {
          heard(typeof data === 'string' ? data : Buffer.from(data).toString());
          guest.say(data);
        },
      };
      return guestOf(item, boot)(recorded);
    };
  };
  return {
    repositories: Object.fromEntries(
      pipelines.map(({ id }) => [repositoryOf(id), { branches: { main: commitOf(id) } }]),
    ),
    async build({ server, src, repository, files, log, sleep, output }) {
      const item = byRepository.get(repository);
      if (item === undefined) return 1;
      const what = `the build in ${src} on ${server}`;
      building.add(what);
      if (files.stat(`/root/.bringup/.over/${src.split('/').at(-2)}`) !== undefined) late.add(what);
      using _ended = { [Symbol.dispose]: () => void building.delete(what) };
      for (let line = 0; line < item.lines; line += 1) {
        await log(`  CC      line-${line} of ${item.id} ${'x'.repeat(line * 7)}\n`);
        await sleep(item.buildMs / item.lines);
      }
      if (item.fate === 'build-fails') {
        await log('init/main.c:1:1: error: it was fated to fail\n');
        return 2;
      }
      await log('  LD      vmlinux\n');
      output('arch/x86/boot/bzImage', kernelOf(item.id));
      output('.config', 'CONFIG_64BIT=y\n');
      return 0;
    },
    guest: (guest) => play(guest.spec.name, byImage.get(guest.spec.kernel.split('/').at(-1) ?? ''))(guest),
    boardGuest: (guest) => {
      const image = lab?.board(guest.spec.name).flash.contents('kernel')?.toString() ?? '';
      return play(`board:${guest.spec.name}`, byImage.get(sha256(image)))(guest);
    },
    consoles,
    saidBy: (board) => lab?.board(board).line.said.toString() ?? '',
    buildLogs,
    building,
    late,
    watch: (registered) => {
      lab = registered;
      for (const name of ['build1', 'build2']) watchBuildLogs(registered, name, buildLogs, begin);
    },
  };
}

function watchBuildLogs(
  lab: MemoryLab,
  hostname: string,
  said: Said,
  begin: (said: Said, key: string) => (text: string) => void,
): void {
  const { fs } = lab.shell.host(hostname);
  const append = fs.appendFile.bind(fs);
  const writers = new Map<string, (text: string) => void>();
  fs.appendFile = (path, data) => {
    append(path, data);
    const id = /\/builds\/([^/]+)\/log$/.exec(path)?.[1];
    if (id === undefined) return;
    const text = typeof data === 'string' ? data : Buffer.from(data).toString();
    // The wrapper makes an empty log before it starts the command.
    if (text === '' || !writers.has(path)) writers.set(path, begin(said, id));
    writers.get(path)?.(text);
  };
}

/** Each boot says which one it is: a log that was begun with one and went on with another is no prefix of either. */
function guestOf(item: PipelineItem | undefined, boot: number): (guest: Parameters<MemoryBoot>[0]) => Promise<void> {
  if (item?.fate === 'panics') return memoryGuests.panics;
  return async (guest) => {
    guest.say(`[    0.000000] Linux version 6.1.0 (builder@lab) #${boot}\r\n`);
    await guest.sleep(300);
    const tests = item?.lines ?? 1;
    guest.say(`KTAP version 1\r\n1..${tests}\r\n`);
    for (let test = 1; test <= tests; test += 1) {
      await guest.sleep(150);
      guest.say(`${item?.fate === 'test-fails' && test === tests ? 'not ok' : 'ok'} ${test} test-${test}\r\n`);
    }
    await guest.idle();
  };
}
