/**
 * Sets `hash` to a command that prints the SHA-256 of its standard input first on a line. OpenSSL
 * starts slower but uses the CPU's instructions, which coreutils' own code does not.
 */
const chooseHash = `
if [ "$size" -gt 4194304 ] && command -v openssl >/dev/null; then hash='openssl dgst -sha256 -r'
elif command -v sha256sum >/dev/null; then hash=sha256sum
elif command -v shasum >/dev/null; then hash='shasum -a 256'
elif command -v openssl >/dev/null; then hash='openssl dgst -sha256 -r'
else echo 'there is no sha256sum, shasum or openssl' >&2; exit 3
fi`;

/** \`wc -c\` reads all of a file in some shells' own version, so it comes second. */
const sizeOf = `size_of() { stat -c %s -- "$1" 2>/dev/null || wc -c <"$1" | tr -d ' '; }`;

/** Writes the part file through to the disk, prints its hash, and gives it its name if it has the hash that is wanted. */
const proveAndRename = `
{ sync -- "$part" 2>/dev/null || sync; } &
sum=$($hash <"$part") || exit 1
wait $! || exit 1
sum=\${sum%% *}
echo "sha256:$sum"
[ "$sum" = "$want" ] || exit 5
chmod "$mode" -- "$part" && mv -f -- "$part" "$path" || exit 1`;

/**
 * Stores standard input beside the path and renames it when it is whole. The input's last 64 bytes
 * are the SHA-256 the sender computed on the way: a connection that is cut leaves them out, and then
 * nothing is renamed and nothing stays behind. Prints the hash of what was stored.
 *
 * Arguments: part file, path, octal mode, size, size and 64.
 */
export const uploadScript: string = `
export LC_ALL=C
part=$1 path=$2 mode=$3 size=$4 sent=$5
trap 'rm -f -- "$part"' EXIT
trap 'exit 1' HUP INT TERM PIPE
umask 077
${sizeOf}
${chooseHash}
if [ -d "$path" ]; then echo "it is a folder" >&2; exit 1; fi
cat >"$part" || exit 1
[ "$(size_of "$part")" = "$sent" ] || { echo "the bytes did not all arrive" >&2; exit 4; }
want=$(tail -c 64 -- "$part")
truncate -s "$size" -- "$part" 2>/dev/null || dd if=/dev/null of="$part" bs=1 seek="$size" 2>/dev/null || exit 1
${proveAndRename}
trap - EXIT
`;

/**
 * As the upload script, for bytes whose hash is known before: the part file then has a name that
 * follows from them, and a connection that is cut leaves it, for the next one to go on behind it. First
 * prints `have:` and how much is there. Every byte is written at its own place, so a writer whose
 * connection is half dead does no harm to the one that has taken over. Parts nobody came back for are
 * removed after two days. The part must be a file of our own: others can guess its name.
 *
 * Arguments: part file, path, octal mode, size, SHA-256.
 */
export const resumeScript: string = `
export LC_ALL=C
part=$1 path=$2 mode=$3 size=$4 want=$5 keep=
trap '[ -n "$keep" ] || rm -f -- "$part"' EXIT
trap 'keep=1; exit 4' HUP INT TERM PIPE
umask 077
${sizeOf}
${chooseHash}
if [ -d "$path" ]; then echo "it is a folder" >&2; exit 1; fi
find "\${path%/*}/." ! -name . -prune -type f -name '.bringup-*.part' -mtime +1 -exec rm -f -- {} + 2>/dev/null
{ [ -f "$part" ] && [ ! -L "$part" ] && [ -O "$part" ]; } || rm -f -- "$part"
{ exec 3<>"$part"; } || exit 1
have=$(size_of "$part") || exit 1
[ "$have" -le "$size" ] || { have=0; : >"$part"; }
dd bs=1 skip="$have" count=0 <&3 >/dev/null 2>&1
echo "have:$have"
cat >&3 || exit 1
[ "$(size_of "$part")" = "$size" ] || { keep=1; echo "the bytes did not all arrive" >&2; exit 4; }
${proveAndRename}
keep=1
`;

/**
 * Prints the size of a file, a newline and its bytes from one on; on standard error the SHA-256 of
 * the whole file, which is computed while the bytes are sent.
 *
 * Arguments: path, number of the first byte to send, from 1.
 */
export const downloadScript: string = `
export LC_ALL=C
path=$1 first=$2
[ -e "$path" ] || { echo "there is no such file" >&2; exit 6; }
if [ -d "$path" ]; then echo "it is a folder" >&2; exit 1; fi
${sizeOf}
size=$(size_of "$path") || exit 1
${chooseHash}
echo "$size"
$hash <"$path" >&2 &
trap 'kill $! 2>/dev/null' EXIT
if [ "$first" -gt 1 ]; then tail -c "+$first" -- "$path"; else cat -- "$path"; fi || exit 1
wait $! || exit 1
trap - EXIT
`;

/** Exit codes of the scripts that mean something. */
export const scriptExit = { noHash: 3, incomplete: 4, mismatch: 5, notFound: 6 } as const;
