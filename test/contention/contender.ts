// Forked by main.ts: tries to get boards, again and again, and keeps the book on the floor about which ones it has.
import { closeSync, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { boardRequest, createLab, isBringupError, type Lab, type Reservation } from '@bringup/core';
import { memoryArtifactStorage, seededRandom } from '@bringup/core/testing';
import { storeOf } from '../fixtures/stores.ts';

/** What a contender is told. */
export interface Orders {
  readonly store: string;
  readonly name: string;
  readonly seed: number;
  readonly attempts: number;
  /** Of those so many at the same time. */
  readonly together: number;
  /** Where the book is kept: a file for each board that somebody has, and one for its last fence. */
  readonly floor: string;
}

/** What it saw. */
export interface Outcome {
  readonly attempts: number;
  readonly granted: number;
  /** After waiting for it. */
  readonly waitedFor: number;
  /** Renewals of a reservation that had ended. */
  readonly staleRefused: number;
  /** What must not be: two who had one board, a fence that did not grow, an old claim that still held. */
  readonly violations: readonly string[];
}

const orders = JSON.parse(process.argv[2] ?? '') as Orders;
const random = seededRandom(orders.seed);
const violations: string[] = [];
let [granted, waitedFor, staleRefused] = [0, 0, 0];

/** Independent of the database: the file system lets one create a file that is not there. */
function enter({ resourceId, fence }: Reservation): void {
  try {
    closeSync(openSync(join(orders.floor, resourceId), 'wx'));
  } catch {
    violations.push(`${resourceId} was given to ${orders.name} while somebody else had it (fence ${fence})`);
  }
  const last = join(orders.floor, `${resourceId}.fence`);
  const before = Number(readIfThere(last));
  if (before >= fence) violations.push(`${resourceId} had fence ${before} before ${fence}`);
  writeFileSync(last, String(fence));
}

function leave({ resourceId }: Reservation): void {
  unlinkSync(join(orders.floor, resourceId));
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '0';
  }
}

/** One in ten waits a moment for its turn, the others take what there is. */
async function attempt(lab: Lab): Promise<Reservation | undefined> {
  const holder = orders.name;
  if (random.next() >= 0.1) {
    const { reservationId } = await lab.selection.boards.selectBoard({ architecture: 'arm64' }, { holder });
    return reservationId === undefined ? undefined : await lab.reservations.get(reservationId);
  }
  try {
    const reservation = await lab.reservations.request(boardRequest({ architecture: 'arm64' }), {
      holder,
      timeoutMs: 1 + Math.floor(random.next() * 300),
    });
    waitedFor += 1;
    return reservation;
  } catch (error) {
    if (isBringupError(error, 'deadline-exceeded')) return undefined;
    throw error;
  }
}

async function run(lab: Lab): Promise<void> {
  for (let attempts = 0; attempts < orders.attempts / orders.together; attempts += 1) {
    const reservation = await attempt(lab);
    if (reservation === undefined) continue;
    granted += 1;
    enter(reservation);
    for (let turns = Math.floor(random.next() * 4); turns > 0; turns -= 1) await new Promise(setImmediate);
    leave(reservation);
    await lab.reservations.release(reservation.id);
    if (random.next() < 0.05) await tryOldClaim(lab, reservation);
  }
}

/** Somebody else may have the board by now. */
async function tryOldClaim(lab: Lab, { id, fence }: Reservation): Promise<void> {
  try {
    await lab.reservations.renew(id, { leaseMs: 60_000 });
    violations.push(`the ended reservation ${id} (fence ${fence}) could be renewed`);
  } catch (error) {
    if (!isBringupError(error, 'lease-lost')) throw error;
    staleRefused += 1;
  }
  // Giving it back once more must take nothing from whoever has the board now.
  await lab.reservations.release(id);
}

await using lab = await createLab({ store: storeOf(orders.store), artifacts: memoryArtifactStorage(), roles: [] });
// Together they want twice as many boards as there are.
await Promise.all(Array.from({ length: orders.together }, () => run(lab)));
const outcome: Outcome = { attempts: orders.attempts, granted, waitedFor, staleRefused, violations };
process.send?.(outcome);
process.disconnect?.();
