import { BringupError, limits } from '@bringup/core';
import type { CallOptions, ShellSession } from '@bringup/core';

/** Most bytes one reading brings. */
const readMaxBytes = 4 * 1024 * 1024;

/** How long bytes the VM has said may take to reach the log: they pass through virtlogd. */
const lagMs = 1_000;

/** Rotated parts of a log that are kept beyond what virtlogd keeps. */
const keepBytes = 64 * 1024 * 1024;

const exitStatus = { lost: 3, unreadable: 4, absent: 5 } as const;

/*
 * virtlogd renames console.log to console.log.0 when it has grown to its max_size (2 MiB by
 * default), .0 to .1 and so on, and drops the oldest. So that offsets stay offsets from the first
 * byte, each file also gets a name that tells where it begins: console.seg.<offset>. A file that
 * has such a name keeps its bytes when virtlogd drops it, and the place of the newest among
 * virtlogd's names tells which file follows it.
 *
 * Meanwhile the VM may be destroyed, and any file be gone at the next line. Without the newest
 * segment there is no log any more. Without an older one it was pruned, or its folder is just being
 * removed, file by file: which of the two shows a moment later.
 */
const readScript = `
dir=$1 offset=$2 wait=$3 max=$4 lag=$5 keep=$6
log=$dir/console.log
[ -d "$dir" ] || exit ${exitStatus.absent}

lost() {
  sleep 0.1
  newest
  [ -e "$log" ] || exit ${exitStatus.absent}
  exit ${exitStatus.lost}
}

newest() {
  n=-1
  for f in "$dir"/console.seg.*; do
    b=\${f##*.}
    [ -e "$f" ] && [ "$b" -gt "$n" ] && n=$b
  done
  [ "$n" -ge 0 ] || exit ${exitStatus.absent}
  seg=$dir/console.seg.$n
}

catch_up() {
  tries=0
  while newest; ! [ "$log" -ef "$seg" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || lost
    next=$log k=0
    while ! [ "$log.$k" -ef "$seg" ]; do
      next=$log.$k k=$((k + 1))
      [ "$k" -lt 64 ] || break
    done
    if [ "$k" -eq 64 ]; then
      # Between two renames the file has no name of virtlogd's for an instant.
      [ "$tries" -lt 5 ] || lost
      sleep 0.02
      continue
    fi
    size=$(stat -c %s -- "$seg") || exit ${exitStatus.absent}
    base=$((n + size))
    if ! ln -- "$next" "$dir/link.$$" 2>/dev/null; then
      [ -e "$next" ] && [ ! -r "$next" ] && exit ${exitStatus.unreadable}
      sleep 0.02
      continue
    fi
    # Another rotation in between would have shifted all names by one.
    [ "$log.$k" -ef "$seg" ] && ln -- "$dir/link.$$" "$dir/console.seg.$base" 2>/dev/null
    rm -f -- "$dir/link.$$"
    for f in "$dir"/console.seg.*; do
      [ -e "$f" ] && [ "\${f##*.}" -lt $((n - keep)) ] && rm -f -- "$f"
    done
  done
  size=$(stat -c %s -- "$seg") || exit ${exitStatus.absent}
  end=$((n + size))
}

catch_up
waited=0 pause=20
while { [ "$offset" -eq "$end" ] && [ "$waited" -lt "$wait" ]; } || { [ "$offset" -gt "$end" ] && [ "$waited" -lt "$lag" ]; }; do
  sleep "0.$(printf %03d "$pause")"
  waited=$((waited + pause)) pause=$((pause * 2))
  [ "$pause" -le 200 ] || pause=200
  [ -d "$dir" ] || exit ${exitStatus.absent}
  catch_up
done
[ "$offset" -le "$end" ] || lost

at=-1
for f in "$dir"/console.seg.*; do
  b=\${f##*.}
  [ -e "$f" ] && [ "$b" -le "$offset" ] && [ "$b" -gt "$at" ] && at=$b
done
[ "$at" -ge 0 ] || lost
# What is open stays readable, whoever removes it.
opened=
{
  opened=yes
  tail -c "+$((offset - at + 1))" | head -c "$max"
} <"$dir/console.seg.$at"
[ -z "$opened" ] || exit 0
[ ! -e "$dir/console.seg.$at" ] || exit ${exitStatus.unreadable}
lost
`;

/** What a reading of the log came to. */
export type LogReading =
  | { readonly outcome: 'read'; readonly bytes: Buffer }
  /** The bytes from there on are gone, or were never said. */
  | { readonly outcome: 'lost' }
  /** The account may not read the file. */
  | { readonly outcome: 'unreadable' }
  /** There is no log: the VM is not ours, or was destroyed. */
  | { readonly outcome: 'absent' };

/** The console's log on the host, readable from any byte the VM ever said on. */
export class ConsoleLog {
  readonly #shell: Pick<ShellSession, 'exec'>;
  readonly #folder: string;

  constructor(shell: Pick<ShellSession, 'exec'>, folder: string) {
    this.#shell = shell;
    this.#folder = folder;
  }

  /**
   * Bytes from `offset` on; none when there are no more yet.
   * @param waitMs - how long to wait on the host for the first of them.
   * @throws as `exec`.
   */
  async read(offset: number, waitMs: number, options: CallOptions): Promise<LogReading> {
    const values = [this.#folder, offset, waitMs, readMaxBytes, lagMs, keepBytes].map(String);
    const { exitCode, stdout, stderr } = await this.#shell.exec(['sh', '-c', readScript, 'sh', ...values], {
      ...options,
      timeoutMs: waitMs + limits.execTimeoutMs,
    });
    switch (exitCode) {
      case 0:
        return { outcome: 'read', bytes: stdout };
      case exitStatus.lost:
        return { outcome: 'lost' };
      case exitStatus.unreadable:
        return { outcome: 'unreadable' };
      case exitStatus.absent:
        return { outcome: 'absent' };
      default:
        throw new BringupError(
          'hypervisor-failed',
          `The console log in ${this.#folder} could not be read: ${stderr.toString('utf8').trim()}`,
          { details: { folder: this.#folder, exitCode } },
        );
    }
  }
}

const reasons: Readonly<Record<Exclude<LogReading['outcome'], 'read'>, string>> = {
  lost: 'the host no longer has those bytes, or the VM never said that many',
  unreadable:
    'virtlogd rotated the log and only root may read the new file: raise max_size in /etc/libvirt/virtlogd.conf, or connect as an account that can read it',
  absent: 'nothing was recorded: the VM was not created by this connector, or its workspace was another one',
};

/** Why a console can't be given from `offset` on. */
export function historyLost(
  name: string,
  offset: number,
  outcome: Exclude<LogReading['outcome'], 'read'>,
): BringupError {
  return new BringupError(
    'console-history-lost',
    `The console of ${name} can't be read from byte ${offset} on: ${reasons[outcome]}.`,
    { details: { name, offset, reason: outcome } },
  );
}
