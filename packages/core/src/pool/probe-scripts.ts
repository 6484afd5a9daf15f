/**
 * Prints facts of a machine as `key value` lines. `$1`: the workspace, or empty for the default; it
 * is made if it is missing, since only then its free space can be known. Busybox will do.
 */
export const factsScript: string = `set -eu
workspace=\${1:-$HOME/.bringup}
mkdir -p -- "$workspace"
cd -- "$workspace"
printf "workspace %s\\n" "$(pwd -P)"
printf "machine %s\\n" "$(uname -m)"
printf "kernel %s\\n" "$(uname -r)"
cpus=$(getconf _NPROCESSORS_ONLN 2>/dev/null) || cpus=$(nproc 2>/dev/null) || cpus=$(grep -c ^processor /proc/cpuinfo)
printf "cpus %s\\n" "$cpus"
while read -r key value unit; do
  case $key in MemTotal:) printf "memory_kb %s\\n" "$value";; esac
done < /proc/meminfo
df -Pk . | { read -r header; read -r device blocks used available rest; printf "free_kb %s\\n" "$available"; }
`;

/**
 * Prints one line a compiler on the PATH:
 * `name<TAB>path<TAB>version<TAB>target machine<TAB>targets it has, if it has several`. The plain names
 * come first, then cross compilers, then those with a version in their name.
 */
export const toolchainsScript: string = `
tell() {
  version=$("$2" -dumpfullversion 2>/dev/null </dev/null) || version=
  [ -n "$version" ] || version=$("$2" -dumpversion 2>/dev/null </dev/null) || return 0
  machine=$("$2" -dumpmachine 2>/dev/null </dev/null) || return 0
  targets=
  [ "$1" != clang ] || targets=$("$2" -print-targets 2>/dev/null </dev/null | while read -r target rest; do printf '%s ' "$target"; done)
  printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$1" "$2" "$version" "$machine" "$targets"
}
seek() {
  old=$IFS; IFS=:
  for folder in $PATH; do
    IFS=$old
    for file in "$folder"/$2; do
      [ -f "$file" ] && [ -x "$file" ] || continue
      case $file in */c89-gcc*|*/c99-gcc*) continue;; esac
      tell "$1" "$file"
    done
  done
  IFS=$old
}
seek gcc gcc
seek clang clang
seek gcc '*-gcc'
seek gcc 'gcc-[0-9]*'
seek gcc '*-gcc-[0-9]*'
seek clang 'clang-[0-9]*'
`;

/**
 * Prints the network interfaces but loopback, as `link<TAB>name<TAB>state<TAB>MAC address<TAB>Mbit/s`, and their
 * addresses, as `address<TAB>name<TAB>address/prefix`.
 */
export const networkScript: string = `
for path in /sys/class/net/*; do
  name=\${path##*/}
  [ -d "$path" ] && [ "$name" != lo ] || continue
  state=$(cat "$path/operstate" 2>/dev/null) || state=unknown
  mac=$(cat "$path/address" 2>/dev/null) || mac=
  speed=$(cat "$path/speed" 2>/dev/null) || speed=
  printf 'link\\t%s\\t%s\\t%s\\t%s\\n' "$name" "$state" "$mac" "$speed"
done
ip -o addr show 2>/dev/null | while read -r index name family address rest; do
  printf 'address\\t%s\\t%s\\n' "$name" "$address"
done
`;

/**
 * Prints what a board has, one line each: `model NAME`, `serial NUMBER`, `node NAME` for each enabled node of the
 * device tree's first three levels that has an address, `class NAME` for each device class of the kernel with a
 * device in it, `net KIND`, `usb VENDOR:PRODUCT` and `pci VENDOR:DEVICE`. Short lines: a console types them.
 */
export const peripheralsScript: string = `
tree=/proc/device-tree
text() { tr -d "\\\\000" < "$1" 2>/dev/null; }
[ -f $tree/model ] && printf "model %s\\n" "$(text $tree/model)"
[ -f $tree/serial-number ] && printf "serial %s\\n" "$(text $tree/serial-number)"
for node in $tree/*@* $tree/*/*@* $tree/*/*/*@*; do
  [ -d "$node" ] || continue
  state=
  [ -f "$node/status" ] && state=$(text "$node/status")
  case $state in disabled|fail*) continue;; esac
  name=\${node##*/}
  printf "node %s\\n" "\${name%%@*}"
done
for class in bluetooth drm gpio hwmon i2c-adapter iio mmc_host nvme pwm rtc sound spi_master tpm ubi video4linux watchdog; do
  for device in /sys/class/$class/* /sys/bus/$class/devices/*; do
    [ -e "$device" ] && printf "class %s\\n" "$class" && break
  done
done
for device in /sys/class/net/*; do
  if [ -d "$device/wireless" ]; then echo "net wifi"
  elif [ "$(cat "$device/type" 2>/dev/null)" = 280 ]; then echo "net can"
  elif [ -e "$device/device" ]; then echo "net ethernet"
  fi
done
for device in /sys/bus/usb/devices/*; do
  [ -f "$device/idVendor" ] && printf "usb %s:%s\\n" "$(cat "$device/idVendor")" "$(cat "$device/idProduct")"
done
for device in /sys/bus/pci/devices/*; do
  [ -f "$device/vendor" ] && printf "pci %s:%s\\n" "$(cat "$device/vendor")" "$(cat "$device/device")"
done
true
`;
