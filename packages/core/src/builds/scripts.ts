/**
 * Runs as a detached command on the build server: brings the source to a commit, then runs the
 * recipe. Arguments: `$1` job folder, `$2` cache folder, `$3` repository (git URL or absolute
 * path), `$4` branch, `$5` commit or empty, `$6` recipe script; the rest goes to the recipe.
 *
 * Leaves in the job folder: `src/`, `out/`, `commit`, `times` (as the shell's own `times` prints it), and on a failure that is not the recipe's,
 * `failure` with an error code.
 */
export const buildScript: string = `set -u
job=$1 cache=$2 repository=$3 branch=$4 commit=$5 recipe=$6
shift 6
export GIT_TERMINAL_PROMPT=0 LC_ALL=C
src=$job/src out=$job/out
say() { printf 'bringup: %s\\n' "$*"; }
note() { printf '%s\\n' "$*" > "$job/note.new" && mv "$job/note.new" "$job/note"; }
fail() { printf '%s\\n' "$1" > "$job/failure"; shift; say "$*"; exit 1; }
full() { [ "$(df -Pk "$job" | { read -r h; read -r d b u a r; echo "$a"; })" -lt 1024 ]; }
failed_io() { if full; then fail disk-full "no space left on device while $1"; else fail command-failed "failed while $1"; fi; }

rm -rf -- "$src" "$out"
mkdir -p -- "$out" "$cache" || failed_io 'making folders'
note preparing

from_git() {
  command -v git > /dev/null || fail dependency-missing 'git is not installed here'
  key=$(printf '%s' "$repository" | sha256sum | cut -c 1-32)
  mirror=$cache/$key.git
  (
    # One fetch at a time into one mirror.
    if command -v flock > /dev/null; then flock 9; fi
    [ -e "$mirror/HEAD" ] || git init --quiet --bare "$mirror" || failed_io 'making the mirror'
    say "fetching $repository"
    if ! git -C "$mirror" fetch --quiet --force --prune --no-tags "$repository" \\
        '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' '+HEAD:refs/bringup/HEAD'; then
      if full; then fail disk-full 'no space left on device while fetching'; fi
      fail source-missing "cannot fetch $repository"
    fi
    if [ -n "$commit" ] && ! git -C "$mirror" cat-file -e "$commit^{commit}" 2> /dev/null; then
      # A commit that no branch has may still be served by its hash.
      git -C "$mirror" fetch --quiet "$repository" "$commit" 2> /dev/null || :
    fi
  ) 9> "$mirror.lock" || exit 1
  case $branch in HEAD) ref=refs/bringup/HEAD ;; *) ref=$branch ;; esac
  if [ -n "$commit" ]; then
    resolved=$(git -C "$mirror" rev-parse --verify --quiet "$commit^{commit}") ||
      fail commit-not-found "there is no commit $commit in $repository"
  else
    resolved=$(git -C "$mirror" rev-parse --verify --quiet "$ref^{commit}") ||
      fail commit-not-found "there is no branch or tag '$branch' in $repository"
  fi
  git clone --quiet --shared --no-checkout "$mirror" "$src" &&
    git -C "$src" -c advice.detachedHead=false checkout --quiet "$resolved" || failed_io 'checking out'
}

from_tree() {
  [ -z "$commit" ] && [ "$branch" = HEAD ] ||
    fail commit-not-found "$repository is a plain source tree and has no branches or commits"
  say "copying $repository"
  cp -a --reflink=auto -- "$repository/." "$src" || failed_io 'copying the tree'
  resolved=tree-$(cd "$src" && find . -printf '%P %s %T@ %m %l\\n' | sort | sha256sum | cut -c 1-32)
}

case $repository in
  /*)
    [ -d "$repository" ] || fail source-missing "there is no folder $repository on this server"
    if [ -e "$repository/.git" ] || [ -e "$repository/HEAD" ]; then from_git; else mkdir -- "$src"; from_tree; fi
    ;;
  *) from_git ;;
esac
printf '%s\\n' "$resolved" > "$job/commit"
note "building $resolved"
say "source is at $resolved"
export src out
cd -- "$src" || exit 1
sh -c "$recipe" bringup-recipe "$@"
status=$?
{ times > "$job/times"; } 2> /dev/null
[ "$status" -ne 0 ] || exit 0
if full || tail -c 65536 "$job/log" 2> /dev/null | grep -q 'No space left on device'; then
  # The job's files go anyway; without them there is room to say why.
  rm -rf -- "$src" "$out"
  fail disk-full "no space left on device in $job while building"
fi
exit "$status"
`;

/**
 * Builds a Linux kernel out of tree. `$1` ARCH, `$2` cross prefix or empty, `$3` clang or gcc, `$4` config
 * target, `$5` config fragment, `$6` modules 1/0, `$7` device trees 1/0, `$8` image path; the rest
 * goes to make.
 */
export const kernelRecipe: string = `set -eu
arch=$1 cross=$2 compiler=$3 config=$4 fragment=$5 modules=$6 dtbs=$7 image=$8
shift 8
say() { printf 'bringup: %s\\n' "$*"; }
cc=\${cross}gcc
set -- ARCH="$arch" "$@"
if [ -n "$cross" ]; then set -- CROSS_COMPILE="$cross" "$@"; fi
if [ "$compiler" = clang ]; then set -- LLVM=1 "$@"; cc=clang; fi
if command -v ccache > /dev/null; then
  # Every build has a folder of its own; hits must not depend on its name.
  export CCACHE_BASEDIR="$src/.." CCACHE_NOHASHDIR=1
  set -- CC="ccache $cc" "$@"
  say "using ccache"
fi
jobs=$(getconf _NPROCESSORS_ONLN)
make -C "$src" O="$out" "$@" "$config"
if [ -n "$fragment" ]; then
  printf '%s\\n' "$fragment" > "$out/bringup.config"
  (cd "$out" && "$src/scripts/kconfig/merge_config.sh" -m -O "$out" .config bringup.config)
  make -C "$src" O="$out" "$@" olddefconfig
fi
make -C "$src" O="$out" -j"$jobs" "$@" "\${image##*/}"
if [ "$modules" = 1 ] && grep -q '^CONFIG_MODULES=y' "$out/.config"; then
  make -C "$src" O="$out" -j"$jobs" "$@" modules
  make -C "$src" O="$out" "$@" INSTALL_MOD_PATH="$out/modules" modules_install
  tar --sort=name --owner=0 --group=0 --numeric-owner -C "$out/modules" -cf "$out/modules.tar" lib
fi
if [ "$dtbs" = 1 ] && grep -q '^CONFIG_OF=y' "$out/.config" && [ "$arch" != x86_64 ]; then
  make -C "$src" O="$out" -j"$jobs" "$@" dtbs
fi
`;

/** Runs make in the tree. `$1` folder, `$2` number of targets, then the targets, then more arguments. */
export const makeRecipe: string = `set -eu
cd -- "$1"
shift
exec make -j"$(getconf _NPROCESSORS_ONLN)" "$@"
`;

/** Runs the user's script. `$1` the script, then its arguments. */
export const scriptRecipe: string = `set -eu
script=$1
shift
exec sh -e -c "$script" bringup-script "$@"
`;

/**
 * Lists the outputs of a build. `$1` folder, `$2` most bytes of all of them, then patterns. Prints
 * `PATTERN-INDEX<TAB>SIZE<TAB>SHA256<TAB>PATH` a file, the path relative to the folder. A file that lies outside the
 * folder once links are followed is told as `escape<TAB>PATH`, one whose name would not stay on its line as
 * `name<TAB>PATTERN-INDEX`; more bytes than allowed as `large<TAB>PATTERN-INDEX`, and nothing is hashed any more.
 * What is judged is what is hashed, whatever happens to its name meanwhile: it is opened once.
 */
export const collectScript: string = `set -eu
export LC_ALL=C
cd -- "$1"
root=$(pwd -P)
left=$2
shift 2
index=0
tell() {
  real=$(readlink -f /proc/self/fd/3)
  case $real in
    "$root"/*) ;;
    *) printf 'escape\\t%s\\n' "$file"; return ;;
  esac
  [ -f /proc/self/fd/3 ] || return 0
  size=$(stat -L -c %s /proc/self/fd/3)
  left=$((left - size))
  if [ "$left" -lt 0 ]; then printf 'large\\t%s\\n' "$index"; exit 0; fi
  hash=$(sha256sum <&3)
  printf '%s\\t%s\\t%s\\t%s\\n' "$index" "$size" "\${hash%% *}" "$file"
}
# The only thing that may happen to a pattern is globbing.
IFS=
for pattern do
  for file in $pattern; do
    case $file in *[[:cntrl:]]*) printf 'name\\t%s\\n' "$index"; continue ;; esac
    [ -f "$file" ] || continue
    tell 3< "$file"
  done
  index=$((index + 1))
done
`;

/** Says from now on that a job is over. `$1` file that says so, `$2` minutes after which such files are removed. */
export const overScript: string = `set -u
marks=\${1%/*}
mkdir -p -- "$marks" && : > "$1"
find "$marks" -type f -mmin "+$2" -exec rm -f -- {} +
`;

/** Removes a job's folder. `$1` folder. */
export const removeScript: string = `set -u
chmod -R u+w -- "$1" 2> /dev/null
rm -rf -- "$1"
`;

/** Prints a small file if it is there. `$1` path. */
export const readNoteScript: string = `if [ -e "$1" ]; then head -c 4096 -- "$1"; fi
`;

/**
 * Makes room on a build server. `$1` workspace, then ids of the builds that are under way there. What
 * still runs is left alone whoever started it; mirrors go only when nothing is left that reads from them.
 */
export const cleanServerScript: string = `set -u
workspace=$1
shift
left=0
for folder in "$workspace"/builds/*/; do
  [ -d "$folder" ] || continue
  id=\${folder%/}
  id=\${id##*/}
  pid=
  if [ ! -e "$folder/exit" ] && [ -s "$folder/pid" ]; then read -r pid start < "$folder/pid"; fi
  active=0
  case " $* " in *" $id "*) active=1 ;; esac
  if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then active=1; fi
  if [ "$active" -eq 1 ]; then left=1; continue; fi
  chmod -R u+w -- "$folder" 2> /dev/null
  rm -rf -- "$folder"
done
if [ "$left" -eq 0 ]; then rm -rf -- "$workspace"/git/*.git; fi
exit 0
`;

/** Prints the processor time of a build and its children, and the kilobytes of its folder. `$1` folder. */
export const resourceUseScript: string = `set -u
cd -- "$1" || exit 1
if [ -e times ]; then { read -r shell; read -r children; } < times; printf '%s\\n' "$children"; else echo; fi
du -sk . | { read -r kilobytes rest; printf '%s\\n' "$kilobytes"; }
`;
