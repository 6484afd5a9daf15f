/**
 * Scripts (POSIX sh) that run a long command on a target so that nothing on this side is needed for
 * it to go on. A command has a folder:
 *
 *     started/   made by whoever starts it; making a folder is atomic, so it is started once
 *     running/   made by the one supervisor that goes on
 *     pid        process id and start time of its supervisor, which leads a session of its own
 *     log        standard output and error, byte for byte
 *     exit       exit status, present once it has ended; its room is taken beforehand, as `exit.new`,
 *                so that a command which fills the disk can still tell how it ended
 *     note       one line the command may leave about how far it is
 */

const startTime = `
start_time() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  set -- \${stat##*) }
  # A zombie has ended, whoever has not collected it yet.
  [ "$1" = Z ] || printf '%s' "\${20}"
}
`;

/** Runs as the leader of its own session: `$1` folder, then the command. */
const supervisor = `${startTime}
cd -- "$1" || exit 1
shift
# Whoever waited for the start may have launched another; only one goes on.
mkdir running 2> /dev/null || exit 0
# A stop goes to the whole group: outlive it, to tell how the command ended.
trap : TERM INT HUP
printf '%s %s\\n' "$$" "$(start_time $$)" > pid.new && mv pid.new pid
"$@" > log 2>&1 < /dev/null
printf '%-8s\\n' "$?" 1<> exit.new && mv exit.new exit
`;

/**
 * Starts a command unless it was started before. `$1` folder, `$2` file whose presence forbids it, or empty, then the
 * command. Exit status 69: the target has no `setsid`; 75: it is forbidden.
 */
export const startScript: string = `set -eu
command -v setsid > /dev/null || exit 69
dir=$1
if [ -n "$2" ] && [ -e "$2" ]; then exit 75; fi
shift 2
mkdir -p -- "$dir"
cd -- "$dir"
launch() {
  # An external command: it tells why it can't write.
  [ -s exit.new ] || printf '%-8s\\n' '' | LC_ALL=C cat > exit.new
  : >> log
  setsid sh -c "$supervisor" bringup-job "$dir" "$@" > /dev/null 2>&1 < /dev/null &
}
supervisor='${supervisor.replaceAll("'", "'\\''")}'
if mkdir started 2> /dev/null; then launch "$@"; fi
n=0
while [ ! -s pid ]; do
  n=$((n + 1))
  # Whoever made the folder died before the launch.
  if [ "$n" -eq 100 ]; then launch "$@"; fi
  if [ "$n" -gt 200 ]; then echo 'the command did not start' >&2; exit 1; fi
  sleep 0.05
done
`;

/**
 * Waits for news. `$1` folder, `$2` bytes of the log known already, `$3` most bytes wanted, `$4`
 * how often to look before giving an empty answer. Prints a line
 * `running|exited|lost|gone STATUS SIZE NOTE` and then log bytes.
 */
export const pollScript: string = `${startTime}
cd -- "$1" 2> /dev/null || { echo 'gone - 0'; exit 0; }
known=$2
most=$3
n=0
while :; do
  state='running -'
  pid=
  # Looked at before the log's size: what has ended writes no more.
  if [ -e exit ]; then
    read -r status < exit
    state="exited $status"
  elif [ -s pid ]; then
    read -r pid start < pid
    if [ "$(start_time "$pid")" != "$start" ] && [ ! -e exit ]; then state='lost -'; fi
  elif [ ! -d started ]; then
    state='gone -'
  fi
  size=0
  if [ -e log ]; then size=$(wc -c < log); size=$((size)); fi
  if [ "$size" -gt "$known" ] || [ "\${state%% *}" != running ] || [ "$n" -ge "$4" ]; then break; fi
  n=$((n + 1))
  if [ "$n" -lt 10 ]; then sleep 0.02; else sleep 0.1; fi
done
note=
if [ -e note ]; then read -r note < note || :; fi
printf '%s %s %s\\n' "$state" "$size" "$note"
if [ "$size" -gt "$known" ]; then tail -c "+$((known + 1))" log | head -c "$most"; fi
`;

/** Ends a command and all it started: TERM, then KILL after `$2` tenths of a second. `$1` folder. */
export const stopScript: string = `${startTime}
cd -- "$1" 2> /dev/null || exit 0
[ ! -e exit ] && [ -s pid ] || exit 0
read -r pid start < pid
[ "$(start_time "$pid")" = "$start" ] || exit 0
kill -TERM "-$pid" 2> /dev/null || exit 0
n=0
while [ ! -e exit ] && [ "$n" -lt "$2" ]; do n=$((n + 1)); sleep 0.1; done
if [ ! -e exit ]; then
  kill -KILL "-$pid" 2> /dev/null
  printf '%-8s\\n' 137 1<> exit.new && mv exit.new exit
fi
`;
