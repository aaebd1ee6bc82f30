#!/usr/bin/env bash
# Runs what `gpu.sh pack` put beside it: tests first, then the sanitizer, then benches; prints a table, writes JSON.
#
#   ./run.sh OUT.json            all of it
#   ./run.sh OUT.json PART...    only these: tests sanitizer benches devices
#
# It needs a CUDA driver; with a Vulkan loader the same load goes through WGSL as well, and where compute-sanitizer is
# installed the tests run under it once more. Each program has a time limit, and none stops the others. The exit code
# is 0 when tests passed and none failed. `bench_devices --table` of the repository reads OUT.json in benches/results.
set -uo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Programs come packed; a second run finds them as the first left them.
if compgen -G "$here/bin/*.gz" >/dev/null; then gunzip "$here"/bin/*.gz; fi
SECONDS_PER_SANITIZED=900
# What a log may add to the report.
LOG_BYTES=4000
# What the card is asked before and after; nothing that says whose it is.
CARD=name,driver_version,vbios_version,compute_cap,memory.total,pcie.link.gen.current,pcie.link.gen.max
CARD+=,pcie.link.width.current,pcie.link.width.max,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem
CARD+=,power.draw,power.limit,temperature.gpu,persistence_mode,compute_mode,mig.mode.current,ecc.mode.current
passed=0 failed=0 skipped=0

# ---- JSON -------------------------------------------------------------------------------------------------

# Standard input as a JSON string; what is not ASCII is left out.
text() {
  tr -cd '\11\12\40-\176' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' |
    awk 'BEGIN { printf "\"" } NR > 1 { printf "\\n" } { printf "%s", $0 } END { printf "\"" }'
}

# Joins the lines of standard input by commas, in brackets.
list() {
  awk 'BEGIN { printf "[" } NR > 1 { printf ",\n  " } { printf "%s", $0 } END { printf "]" }'
}

# {"name": value, ...} of the card, now; null where nobody can say.
card() {
  local names values
  values=$(timeout 30 nvidia-smi --id=0 --query-gpu="$CARD" --format=csv,noheader 2>/dev/null) || { echo null; return; }
  IFS=, read -ra names <<<"$CARD"
  IFS=, read -ra values <<<"$values"
  for i in "${!names[@]}"; do
    printf '%s: %s\n' "$(printf %s "${names[i]}" | text)" "$(sed 's/^ *//' <<<"${values[i]-unknown}" | text)"
  done | list | sed '1s/^\[/{/; $s/]$/}/'
}

# What a command says, as a JSON string.
said() {
  { timeout 30 "$@" 2>/dev/null || echo unknown; } | text
}

context() {
  local vulkan=no
  { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q 'libvulkan\.so\.1' && vulkan=yes
  cat <<END
{"date": $(said date -u +%Y-%m-%d), "commit": $(text <<<"$PELTON_COMMIT"), "changed_files": "${PELTON_CHANGES:-0}",
 "rustc": $(text <<<"$PELTON_RUSTC"), "kernel": $(said uname -sr), "machine": $(said uname -m),
 "cpu": $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1 | text), "cores": $(nproc),
 "governor": $(said cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor),
 "load": $(said cut -d ' ' -f 1-3 /proc/loadavg), "memory": $(sed -n 's/^MemTotal: *//p' /proc/meminfo | text),
 "limits": $(ulimit -a | sed 's/  */ /g' | text), "cgroup_cpu": $(said cat /sys/fs/cgroup/cpu.max),
 "libc": $(ldd --version 2>/dev/null | head -n 1 | text), "vulkan_loader": "$vulkan",
 "topology": $(said nvidia-smi topo -m), "driver": $(said cat /proc/driver/nvidia/version),
 "card_before": $card_before, "card_after": $(card)}
END
}

# ---- parts ------------------------------------------------------------------------------------------------

# Runs a command within a limit into $work/log; sets `status` (in words), `took` and `code`.
limited() {
  local begin=$EPOCHREALTIME limit=$1
  shift
  : >"$work/skips"
  timeout --kill-after=10 "$limit" "$@" >"$work/log" 2>&1 </dev/null
  code=$?
  took=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }')
  case $code in
    0) status=passed; [[ ! -s $work/skips ]] && ! grep -qa '^SKIP ' "$work/log" || status=skipped ;;
    124 | 137) status="timeout after $limit s" ;;
    *) status="failed ($code)" ;;
  esac
}

# One line of the table, and one of the report into the file $1, with the log where it was not good.
record() {
  local into=$1 name=$2 log='""'
  printf '%-72s %9s s  %s\n' "${name:0:72}" "$took" "$status"
  [[ $status == passed ]] || log=$(cat "$work/skips" "$work/log" | tail -c $LOG_BYTES | text)
  printf '{"name": "%s", "status": "%s", "seconds": %s, "log": %s}\n' "$name" "$status" "$took" "$log" |
    tr '\n' ' ' >>"$work/$into"
  echo >>"$work/$into"
}

# Each test in a process of its own: an error of the card that sticks to a process fails no other test.
tests() {
  local kind program test seconds
  while read -r kind program test seconds; do
    [[ $kind == test ]] || continue
    limited "$seconds" "$here/bin/$program" "$test" --exact --nocapture
    case $status in
      passed) passed=$((passed + 1)) ;;
      skipped) skipped=$((skipped + 1)) ;;
      *) failed=$((failed + 1)) ;;
    esac
    record tests "$program $test"
  done <"$here/parts"
}

sanitizer() {
  local program tool sanitize
  sanitize=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
  [[ -n $sanitize ]] || { echo "compute-sanitizer is not here: not run"; return; }
  for tool in memcheck racecheck; do
    for program in $(sed -n 's/^test \([^ ]*\) .*/\1/p' "$here/parts" | sort -u); do
      limited $SECONDS_PER_SANITIZED "$sanitize" --tool "$tool" --error-exitcode 99 \
        "$here/bin/$program" cuda_ --skip cuda_kernels_
      record sanitizer "$tool $program"
    done
  done
}

# Benches print lines of JSON: one for each row.
benches() {
  local kind program rest seconds
  while read -r kind program rest seconds; do
    [[ $kind == bench ]] || continue
    limited "$seconds" "$here/bin/$program"
    record bench_runs "$program"
    grep -a '^{"id":.*}$' "$work/log" | tee -a "$work/benches" |
      sed -nE 's/^\{"id":"([^"]*)","value":([^,]*),"unit":"([^"]*)".*/    \1 \2 \3/p'
  done <"$here/parts"
}

# Each device under the same load, its answers checked first. The software adapter says nothing about this machine.
devices() {
  local device seconds
  seconds=$(sed -n 's/^example bench_devices - //p' "$here/parts")
  for device in cuda wgpu cpu; do
    limited "$seconds" "$here/bin/bench_devices" --device $device --grade measured --out "$work/$device.json"
    record bench_runs "bench_devices $device"
    grep -aE 'digest|closed loop|open loop|host CPU' "$work/log" | sed 's/^/  /'
    [[ ! -s $work/$device.json ]] || tr '\n' ' ' <"$work/$device.json" | sed 's/ *$/\n/' >>"$work/devices"
  done
}

main() {
  local out=${1:-} part parts=(tests sanitizer benches devices)
  [[ -n $out && $out != -* ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; return 2; }
  : >"$out" || return 74
  (($# == 1)) || parts=("${@:2}")
  for part in "${parts[@]}"; do
    [[ " tests sanitizer benches devices " == *" $part "* ]] || { echo "no part is called $part" >&2; return 2; }
  done
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  while IFS='=' read -r name value; do export "$name=$value"; done <"$here/built"
  # Tests are to find the card's own driver, and to say what they could not run.
  export PELTON_CUDA=real PELTON_SKIPS=$work/skips
  touch "$work/"{tests,sanitizer,benches,bench_runs,devices}
  card_before=$(card)
  echo "card: $card_before"
  for part in "${parts[@]}"; do $part; done
  {
    printf '{"schema": 1, "kind": "pelton gpu run", "parts": "%s", "context": %s' "${parts[*]}" "$(context)"
    for part in tests sanitizer benches bench_runs devices; do
      printf ',\n "%s": %s' $part "$(list <"$work/$part")"
    done
    echo '}'
  } >"$out"
  echo "tests: $passed passed, $failed failed, $skipped skipped; written to $out"
  [[ " ${parts[*]} " != *" tests "* ]] || ((failed == 0 && passed > 0))
}

main "$@"
