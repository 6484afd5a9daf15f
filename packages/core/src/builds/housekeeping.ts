import type { ShellSession } from '../contracts/shell.ts';
import { limits } from '../limits.ts';
import type { BuildResourceUse } from '../model/build.ts';
import { cleanServerScript, overScript, removeScript, resourceUseScript } from './scripts.ts';

/**
 * Removes from a full build server what nobody needs: folders of builds that are not `active`, and
 * then, when nothing is built there, mirrors of repositories, which are fetched again when wanted.
 */
export async function cleanServer(
  session: ShellSession,
  workspace: string,
  active: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await session.exec(['sh', '-c', cleanServerScript, 'bringup-clean', workspace, ...active], {
    signal,
    timeoutMs: limits.hashTimeoutMs,
  });
}

/** What a build used of its server; undefined when the server can't tell. */
export async function readResourceUse(
  session: ShellSession,
  folder: string,
  signal: AbortSignal,
): Promise<BuildResourceUse | undefined> {
  const result = await session.exec(['sh', '-c', resourceUseScript, 'bringup-use', folder], {
    signal,
    timeoutMs: limits.hashTimeoutMs,
  });
  const [times = '', kilobytes = ''] = result.stdout.toString('utf8').split('\n');
  const cpuSeconds = [...times.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
  if (times === '' || !/^\d+$/.test(kilobytes)) return undefined;
  return { cpuSeconds: Math.round(cpuSeconds * 100) / 100, storageMb: Math.ceil(Number(kilobytes) / 1024) };
}

/**
 * Has a server remember that a build is over there, see `overMark`. Before it is stopped and its folder removed: so it can't
 * begin in between.
 */
export async function markOver(session: ShellSession, mark: string, signal: AbortSignal): Promise<void> {
  const minutes = String(Math.ceil(limits.overMarkMs / 60_000));
  await session.exec(['sh', '-c', overScript, 'bringup-over', mark, minutes], {
    signal,
    timeoutMs: limits.execTimeoutMs,
  });
}

/** Removes a job's folder. */
export async function removeFolder(session: ShellSession, folder: string, signal: AbortSignal): Promise<void> {
  await session.exec(['sh', '-c', removeScript, 'bringup-remove', folder], { signal, timeoutMs: limits.hashTimeoutMs });
}
