import type { MemoryFileSystem } from '@bringup/core/testing';
import { buildsFolder } from './machines.ts';
import type { Outcome, Report } from './outcome.ts';
import type { Fault } from './plan.ts';

/** Everything came to its end, and nothing was left behind: nothing reserved, no VM, no board without power. */
export function checkEnd({ unfinished, database, world, plan, scenery }: Outcome, report: Report): void {
  for (const what of unfinished) report(`not over: ${what}`);
  for (const { id } of database.rows('select id from environments where released_at is null')) {
    report(`environment ${String(id)} was not given back`);
  }
  for (const row of database.rows('select name, slots_used, cpu_used, memory_mb_used, held_rank from resources')) {
    const used = Number(row['slots_used']) + Number(row['cpu_used']) + Number(row['memory_mb_used']);
    if (used > 0 && unfinished.length === 0) report(`${String(row['name'])} counts ${used} as used`);
    if (row['held_rank'] !== null) report(`${String(row['name'])} is held back for nobody`);
  }
  for (const { name } of world.hypervisor.host('host1').list()) report(`the VM ${name} was left behind`);
  for (const name of ['build1', 'build2']) {
    const { fs } = world.shell.host(name);
    for (const folder of buildFolders(fs)) report(`${folder} was left on ${name}`);
  }
  for (const build of scenery.building) report(`${build} still runs`);
  for (const name of ['board1', 'board2']) {
    if (world.board(name).outlet.actual === 'on') continue;
    const told = database.rows(
      'select 1 from alerts join resources on resources.id = alerts.subject where name = ? and resolved_at is null',
      name,
    );
    if (told.length === 0) report(`${name} was left without power, and nobody was told`);
  }
  checkPipelines(
    database.rows('select p.name, w.state, w.error, w.id from pipelines p join work_items w on w.id = p.id'),
    plan,
    report,
  );
}

function buildFolders(fs: MemoryFileSystem): string[] {
  const names = fs.stat(buildsFolder) === undefined ? [] : fs.list(buildsFolder);
  return names.map((name) => `${buildsFolder}/${name}`);
}

/**
 * What processes suffer loses no pipeline: others go on with it, or they do later. Nor does a slow network. What else
 * machines, networks and storages do may.
 */
const survived: readonly Fault['kind'][] = ['crash', 'pause', 'deaf', 'store-away', 'clock-jump', 'slow'];

/** A pipeline that nothing happened to but its processes ends as it was fated to. */
function checkPipelines(
  pipelines: readonly Record<string, unknown>[],
  { work, faults }: Outcome['plan'],
  report: Report,
): void {
  for (const { name, state, error } of pipelines) {
    const item = work.find(({ id }) => id === name);
    if (item?.kind !== 'pipeline') continue;
    if (state === 'succeeded' && item.fate !== 'passes') report(`${item.id} succeeded, though ${item.fate}`);
    const undisturbed = faults.every(({ kind }) => survived.includes(kind)) && item.cancelAfterMs === undefined;
    if (!undisturbed || work.some(({ kind }) => kind === 'maintenance')) continue;
    const { code = 'none' } = (JSON.parse(String(error ?? '{}')) ?? {}) as { readonly code?: string };
    const expected = {
      passes: 'none',
      'build-fails': 'build-failed',
      panics: 'boot-failed',
      'test-fails': 'tests-failed',
    }[item.fate];
    if (code !== expected && code !== 'deadline-exceeded')
      report(`${item.id} was fated to ${item.fate} and ended with ${code}`);
  }
}
