import type { Outcome, Report } from './outcome.ts';

/** What a build says about itself between two attempts. */
const ownLines = /^bringup: .*; (?:trying another server|made room, building again)$/m;

/** Every log is a prefix of what the machine said, attempt by attempt: no byte is missing, none is there twice. */
export function checkLogs(outcome: Outcome, report: Report): void {
  for (const { id, state, kind } of outcome.database.rows('select id, state, kind from work_items')) {
    const succeeded = state === 'succeeded';
    if (kind === 'build') checkBuildLog(outcome, String(id), succeeded, report);
  }
  checkChunks(outcome, report);
  checkConsoles(outcome, report);
  checkBoards(outcome, report);
}

function checkBuildLog(outcome: Outcome, id: string, succeeded: boolean, report: Report): void {
  const log = logOf(outcome, `build/${id}`);
  const said = outcome.scenery.buildLogs.get(id) ?? [];
  // Each attempt begins anew; the last ones may not have been reached.
  const parts = log.split(ownLines).map((part, index) => (index === 0 ? part : part.replace(/^\n/, '')));
  let attempt = 0;
  for (const [index, part] of parts.entries()) {
    if (part === '') continue;
    const found = said.findIndex((text, at) => at >= attempt && text.startsWith(part));
    if (found === -1) {
      report(
        `attempt ${index} in the log of build ${id} is no prefix of what was said: ${JSON.stringify(part.slice(-120))} of ${JSON.stringify(said.map((text) => text.slice(-120)))}`,
      );
      return;
    }
    attempt = found + 1;
    if (succeeded && index === parts.length - 1 && said[found] !== part) {
      report(`build ${id} has succeeded, but ${(said[found]?.length ?? 0) - part.length} bytes of its log are missing`);
    }
  }
}

/** The console of a VM has a history: its boot's log, and its tests' behind it, are its beginning. */
function checkConsoles(outcome: Outcome, report: Report): void {
  const { database, scenery } = outcome;
  const boots = database.rows(
    `select d.id as deployment, w.id as boot, w.checkpoint, t.id as test, t.state as test_state from deployments d
     join work_items w on w.id = d.boot_id left join (select test_runs.id, deployment_id, state from test_runs join work_items on work_items.id = test_runs.id) t on t.deployment_id = d.id
     where d.target_type = 'qemu_host'`,
  );
  for (const { deployment, boot, test } of boots) {
    const log =
      logOf(outcome, `boot/${String(boot)}`) + (test === null ? '' : logOf(outcome, `testrun/${String(test)}`));
    const said = scenery.consoles.get(`bringup-${String(deployment)}`) ?? [];
    if (log !== '' && !said.some((text) => text.startsWith(log))) {
      report(
        `the console log of deployment ${String(deployment)} is no prefix of what its VM said: ${JSON.stringify(log.slice(-200))} of ${JSON.stringify(said.map((text) => text.slice(-200)))}`,
      );
    }
  }
}

/**
 * The line of a board has no history: what is said while nobody listens is lost. But what is in the logs was said, in
 * that order and once; and where nothing went wrong, it is the beginning of what was said since the board was switched on.
 */
function checkBoards({ database, scenery, plan }: Outcome, report: Report): void {
  const placed = database.rows(
    `select d.id as deployment, d.boot_id as boot, r.name as board, t.id as test from deployments d
     join resources r on r.id = d.target_id left join test_runs t on t.deployment_id = d.id
     where d.target_type = 'physical_board'`,
  );
  for (const { deployment, boot, board, test } of placed) {
    const log =
      logOf({ database }, `boot/${String(boot)}`) +
      (test === null ? '' : logOf({ database }, `testrun/${String(test)}`));
    const said = scenery.consoles.get(`board:${String(board)}`) ?? [];
    // One that was cancelled before its board was switched on has heard nothing.
    const whole = (): boolean => log === '' || said.some((text) => text.startsWith(log));
    const fits = plan.faults.length === 0 ? whole() : isPartOf(log, scenery.saidBy(String(board)));
    if (!fits)
      report(
        `the console log of deployment ${String(deployment)} is not what ${String(board)} said: ${JSON.stringify(log.slice(-400))} of ${JSON.stringify(scenery.saidBy(String(board)).slice(-2_000))}`,
      );
  }
}

/** Whether a text is left of another when pieces are taken out of it. */
function isPartOf(text: string, of: string): boolean {
  let at = 0;
  for (const character of text) {
    at = of.indexOf(character, at) + 1;
    if (at === 0) return false;
  }
  return true;
}

/** Pieces follow each other without a gap, and their sum is the size that is told. */
function checkChunks({ database, audit }: Outcome, report: Report): void {
  for (const { id, size_bytes: size } of database.rows('select id, size_bytes from logs')) {
    let end = 0;
    for (const row of database.rows(
      'select start_byte, length(bytes) as bytes from log_chunks where log_id = ? order by start_byte',
      String(id),
    )) {
      if (row['start_byte'] !== end)
        report(`log ${String(id)} has a piece at ${String(row['start_byte'])} after byte ${end}`);
      end = Number(row['start_byte']) + Number(row['bytes']);
    }
    if (end !== size) report(`log ${String(id)} tells of ${String(size)} bytes and has ${end}`);
  }
  for (const { what, at, by, row } of audit) {
    if (what === 'log' && Number(row['size']) < Number(row['before']))
      report(`log ${row['id']} shrank (at ${at}, by ${by})`);
  }
}

function logOf({ database }: Pick<Outcome, 'database'>, id: string): string {
  return Buffer.concat(
    database
      .rows('select bytes from log_chunks where log_id = ? order by start_byte', id)
      .map(({ bytes }) => bytes as Uint8Array),
  ).toString();
}
