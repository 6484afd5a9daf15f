/**
 * Looks at what a slot is written to: `$1` is the device or file. Prints its size in bytes. What is in
 * use is refused: writing under a mounted file system destroys it and what is written.
 *
 * Exit status 3: it is not there; 4: it is in use.
 */
export const lookScript: string = `set -u
dev=$(readlink -f -- "$1") || dev=$1
if [ -f "$dev" ]; then stat -c %s -- "$dev"; exit; fi
[ -b "$dev" ] || { echo "there is no block device $1" >&2; exit 3; }
case $dev in *[0-9]) part=p ;; *) part= ;; esac
while read -r source rest; do
  case $source in
    "$dev" | "$dev$part"[0-9]*) echo "$source is in use: \${rest%% *}" >&2; exit 4 ;;
  esac
done << IN_USE
$(cat /proc/mounts /proc/swaps)
IN_USE
node=/sys/class/block/\${dev##*/}
for holder in "$node"/holders/* "$node"/*/holders/*; do
  [ -e "$holder" ] && { echo "$1 is in use: \${holder##*/}" >&2; exit 4; }
done
sectors=$(cat "$node/size") || exit
# The kernel counts in sectors of 512 bytes, whatever the device's own are.
echo $((sectors * 512))
`;

/**
 * Writes standard input to `$1` from byte `$2` on, in blocks of `$3` bytes, which divide `$2`, and
 * flushes it to the medium.
 */
export const writeScript: string = `exec dd of="$1" bs="$3" seek=$(($2 / $3)) conv=notrunc,fsync
`;

/**
 * Writes stretches of standard input to `$1`, one after the other, and flushes them to the medium. For each there
 * are three arguments: the block size, and in blocks where it begins and how many it has. The last may end earlier.
 */
export const mappedWriteScript: string = `set -e
dev=$1
shift
while [ $# -gt 3 ]; do
  dd of="$dev" bs="$1" seek="$2" count="$3" iflag=fullblock conv=notrunc
  shift 3
done
exec dd of="$dev" bs="$1" seek="$2" count="$3" iflag=fullblock conv=notrunc,fsync
`;

/**
 * Prints the SHA-256 of each stretch of `$1`, read from the medium: past the page cache where the medium
 * allows that, else after dropping what is cached. For each there are three arguments: the block size, in
 * blocks where it begins, and its size in bytes.
 */
export const readBackScript: string = `set -u
dev=$1 direct=
shift
if dd if="$dev" of=/dev/null bs="$1" skip="$2" count=1 iflag=direct 2> /dev/null; then
  direct=iflag=direct
else
  sync
  { [ -b "$dev" ] && blockdev --flushbufs "$dev"; } 2> /dev/null || :
  dd if="$dev" of=/dev/null bs="$1" iflag=nocache count=0 2> /dev/null || :
fi
while [ $# -gt 0 ]; do
  dd if="$dev" bs="$1" skip="$2" count=$((($3 + $1 - 1) / $1)) $direct 2> /dev/null | head -c "$3" | sha256sum
  shift 3
done
`;

/** Waits until `$1` is a block device or a file and the kernel has settled; looks again each tenth of a second. */
export const settleScript: string = `set -u
until [ -b "$1" ] || [ -f "$1" ]; do sleep 0.1 2> /dev/null || sleep 1; done
if command -v udevadm > /dev/null; then udevadm settle || :; fi
`;
