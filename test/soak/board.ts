import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Board, Lab, Pipeline, StageName } from '@bringup/core';
import { median } from '../bench/bench.ts';
import {
  boardBsp,
  boardPipeline,
  heardIn,
  openBoardLab,
  registerRack,
  startBoardRack,
  type BoardRack,
} from '../fixtures/board-lab.ts';

/** One round: how long its stages took, what was heard, and what is wrong with it. */
interface Round {
  readonly seconds: Readonly<Partial<Record<StageName, number>>>;
  readonly totalSeconds: number;
  readonly consoleBytes: number;
  readonly troubles: readonly string[];
}

const stages: readonly StageName[] = ['build', 'deploy', 'boot', 'test'];

/**
 * The board of the lab suites, through the whole pipeline again and again: built for, flashed, booted over TFTP,
 * tested on its console. Each round its console log must be QEMU's own, byte for byte; in the end nothing may be left.
 */
export async function soakBoard(rounds: number): Promise<{ readonly passed: number; readonly failed: number }> {
  let passed = 0;
  const done: Round[] = [];
  let lab: Lab | undefined;
  const rack = await startBoardRack({ name: 'board1', boots: 'network' });
  const left: string[] = [];
  try {
    lab = await openBoardLab(rack.settings);
    const board = await registerRack(lab, rack, { flash: 'netboot' });
    const source = await boardBsp(rack.settings.folder);
    const before = await openFiles();
    console.log(row(['round', ...stages.map((stage) => `${stage} s`), 'total s', 'console bytes', 'memory MB', '']));
    for (let round = 1; round <= rounds; round += 1) {
      const request = await boardPipeline(source);
      const startedAt = performance.now();
      const { id } = await lab.pipelines.createPipeline(request);
      const pipeline = await lab.pipelines.waitForPipeline(id);
      const result = await judge(lab, rack, board, pipeline, round, (performance.now() - startedAt) / 1_000);
      done.push(result);
      if (result.troubles.length === 0) passed += 1;
      console.log(rowOf(String(round), result));
    }
    console.log(rowOf('median', summary(done)));
    left.push(...(await leftInLab(lab, rack, board, before)));
    await lab.power.powerOff(board.id, { reason: 'the soak is over' });
    if (await rack.board.isLive()) left.push('the outlet is on');
    left.push(...(await rack.board.machines()).map((pid) => `machine ${pid}`));
  } finally {
    await lab?.[Symbol.asyncDispose]();
    await rack[Symbol.asyncDispose]();
  }
  left.push(...(await rack.board.leftovers()));
  console.log(left.length === 0 ? 'nothing is left' : `left: ${left.join('; ')}`);
  return { passed, failed: rounds - passed + (left.length === 0 ? 0 : 1) };
}

async function judge(
  lab: Lab,
  rack: BoardRack,
  { id }: Board,
  pipeline: Pipeline,
  round: number,
  totalSeconds: number,
): Promise<Round> {
  const troubles: string[] = [];
  if (pipeline.status !== 'completed') troubles.push(`${pipeline.status}: ${pipeline.errorMessage ?? ''}`);
  const heard = await heardIn(lab, pipeline);
  const lives = await rack.board.lives();
  const life = lives.at(-1)?.toString() ?? '';
  if (heard === '' || !life.startsWith(heard))
    troubles.push(`the console log is not QEMU's from byte ${differ(heard, life)} on`);
  // It was on once before the first round, and each round cycles its power once.
  if (lives.length !== round + 1) troubles.push(`it had power ${lives.length} times`);
  const machines = await rack.board.machines();
  if (machines.length !== 1) troubles.push(`${machines.length} machines run`);
  const { status } = await lab.boards.getBoardStatus(id);
  if (status !== 'available') troubles.push(`the board is ${status}`);
  const seconds = Object.fromEntries(pipeline.stages.map(({ name, durationSeconds = 0 }) => [name, durationSeconds]));
  return { seconds, totalSeconds, consoleBytes: Buffer.byteLength(heard), troubles };
}

function differ(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return at;
}

/** Reservations, jobs, files of the TFTP server and open files of this process that should not be there any more. */
async function leftInLab(lab: Lab, rack: BoardRack, { id }: Board, openBefore: number): Promise<string[]> {
  const { folder, board } = rack.settings;
  const [reservations, builds, served, open, alerts] = await Promise.all([
    lab.reservations.list(),
    readdir(join(folder, 'server', 'builds')).catch(() => []),
    readdir(join(board.tftp, board.name)),
    openFiles(),
    lab.alerts.list({ state: ['open'] }),
  ]);
  const files = served.filter((name) => name !== 'kernel' && name !== 'initrd');
  return [
    ...reservations.map((reservation) => `reservation ${reservation.id} of ${id}`),
    ...builds.map((name) => `build ${name}`),
    ...files.map((name) => `served file ${name}`),
    ...alerts.map(({ message }) => `alert: ${message}`),
    // Connections that are kept for the next build, console and log files among them: some, but not some for each round.
    ...(open > openBefore + 10 ? [`${open} open files, ${openBefore} before`] : []),
  ];
}

async function openFiles(): Promise<number> {
  return (await readdir('/proc/self/fd')).length;
}

function summary(rounds: readonly Round[]): Round {
  const middle = (figure: (round: Round) => number): number => median(rounds.map(figure));
  return {
    seconds: Object.fromEntries(stages.map((stage) => [stage, middle(({ seconds }) => seconds[stage] ?? 0)])),
    totalSeconds: middle(({ totalSeconds }) => totalSeconds),
    consoleBytes: middle(({ consoleBytes }) => consoleBytes),
    troubles: [],
  };
}

function rowOf(title: string, { seconds, totalSeconds, consoleBytes, troubles }: Round): string {
  const memoryMb = process.memoryUsage.rss() / 2 ** 20;
  return row([
    title,
    ...stages.map((stage) => (seconds[stage] ?? 0).toFixed(1)),
    totalSeconds.toFixed(1),
    String(Math.round(consoleBytes)),
    memoryMb.toFixed(0),
    troubles.join('; ') || 'ok',
  ]);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, at) => (at === cells.length - 1 ? cell : cell.padStart(at === 6 ? 13 : 9))).join('  ');
}
