#!/usr/bin/env bash
# Runs every check of pelton, fast ones first, and ends with one line of totals.
#
#   ./test.sh             installs nothing; says what is missing and how to get it
#   ./test.sh --install   installs that first, on Debian or Ubuntu (as root or through sudo)
#   ./test.sh --list      names the checks
#   ./test.sh NAME...     runs only these
#
# A check that cannot run is skipped with its reason. With CI=true a skip is a failure, unless the reason
# says that it needs a GPU, AMX, AVX or NEON. Rust tests report a skip by appending `SKIP name: reason` to
# $PELTON_SKIPS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# name          once this is here            command
CHECKS=(
  "fmt            Cargo.toml                   cargo fmt --check"
  "clippy         Cargo.toml                   clippy --features tokio,nvrtc"
  "clippy-none    Cargo.toml                   clippy --no-default-features"
  "clippy-cuda    Cargo.toml                   alone cuda"
  "clippy-model   Cargo.toml                   alone model"
  "clippy-nvrtc   Cargo.toml                   alone nvrtc"
  "clippy-wgpu    Cargo.toml                   alone wgpu"
  "clippy-tokio   Cargo.toml                   alone tokio"
  "doc            Cargo.toml                   doc"
  "test           Cargo.toml                   tests -- --skip wgsl --skip cuda_"
  "cuda           src/device/cuda              cuda"
  "wgsl-4         src/device/wgpu              wgsl 128 windows_wgsl"
  "wgsl-8         src/device/wgpu              wgsl 256"
  "wgsl-16        src/device/wgpu              wgsl 512 windows_wgsl"
  "portable       src/base/pages.rs            portable"
  "neon           src/ops/simd/neon.rs         neon"
  "loom           tests/loom.rs                loom"
  "tsan           tests/stress.rs              tsan"
  "first-none     examples/quickstart/main.rs  first_minutes S7-none"
  "first-default  examples/quickstart/main.rs  first_minutes S7-default"
)

AARCH64=aarch64-unknown-linux-gnu

# what             probe                    how to install it        or by hand
NEEDS=(
  "Rust           | command -v cargo       | -                      | https://rustup.rs"
  "rustfmt        | cargo fmt --version    | component rustfmt      | rustup component add rustfmt"
  "clippy         | cargo clippy --version | component clippy       | rustup component add clippy"
  "C++ compiler   | command -v c++         | apt g++                | apt-get install g++"
  "pip            | python3 -m pip --version | apt python3-pip       | apt-get install python3-pip"
  "CUDA compiler  | kernels/build.sh --probe | kernels/build.sh --install | kernels/build.sh --install"
  "MiniLM         | tests/encoder/fetch.sh --probe | tests/encoder/fetch.sh --install | the same by hand"
  "AArch64 linker | aarch64 linker         | apt gcc-aarch64-linux-gnu | apt-get install gcc-aarch64-linux-gnu"
  "AArch64 libc   | aarch64 libc           | apt libc6-dev-arm64-cross | apt-get install libc6-dev-arm64-cross"
  "AArch64 emulator | aarch64 emulator     | apt qemu-user-static   | apt-get install qemu-user-static"
  "AArch64 target | aarch64 target         | rust_target            | rustup target add $AARCH64"
  "Vulkan loader  | vulkan_loader          | apt libvulkan1         | apt-get install libvulkan1"
  "lavapipe       | lavapipe               | apt mesa-vulkan-drivers| apt-get install mesa-vulkan-drivers"
)

TARGET=${CARGO_TARGET_DIR:-$PWD/target}
LOGS=$TARGET/test-logs
CANNOT_RUN=77
passed=0 failed=0

# ---- checks -----------------------------------------------------------------------------------------------

clippy() {
  cargo clippy --all-targets "$@" -- -D warnings
}

# A feature alone: what users build with it. Tests and benches are looked at with none and with all.
alone() {
  cargo clippy --lib --examples --no-default-features --features "$1" -- -D warnings
}

doc() {
  RUSTDOCFLAGS="${RUSTDOCFLAGS-} -Dwarnings" cargo doc --no-deps
}

# Tests of every kind run with the same features, so that nothing is built twice.
tests() {
  cargo test --no-fail-fast --features tokio,nvrtc "$@"
}

# Tests with wgsl in their name, on the software device, at a subgroup of width / 32: all of them, or those of a module.
# What is about queues and memory is the same at any width.
wgsl() {
  local driver width=$1
  vulkan_loader || { skip "no Vulkan loader"; return; }
  driver=$(lavapipe) || { skip "no lavapipe"; return; }
  VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver LP_NATIVE_VECTOR_WIDTH=$width \
    tests --lib --tests -- "${2-wgsl}" | some_ran
}

# Tests with cuda_ in their name, on the stand-in for the driver: all of them in order, then in ten orders those of the
# queue and of moves between devices, with events brought one way, the other, and both.
cuda() {
  local seed ways=(0 1000000000 16384)
  tests --tests -- cuda_ | some_ran || return
  for seed in {1..10}; do
    PELTON_CUDA_SEED=$seed PELTON_CUDA_COPY_BYTES=${ways[seed % 3]} \
      tests --test pipelines -- device::cuda_ placement::cuda_ | some_ran || return
  done
}

# What stands in for calls to the system elsewhere.
portable() {
  RUSTFLAGS="--cfg pelton_portable" \
    cargo test --profile dev --target-dir "$TARGET/portable" --no-default-features --lib -- pages slab | some_ran
}

# What is compiled for AArch64, without a warning, in an emulator: the tests above do it where the processor is one.
neon() {
  aarch64 linker && aarch64 libc && aarch64 emulator && aarch64 target ||
    { skip "it needs NEON, or a linker, an emulator and Rust's target for AArch64"; return; }
  RUSTFLAGS=-Dwarnings CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu" \
    cargo test --target "$AARCH64" --target-dir "$TARGET/neon" --no-default-features --features model --lib | some_ran
}

loom() {
  RUSTFLAGS="--cfg loom" \
    cargo test --target-dir "$TARGET/loom" --release --no-default-features --test loom | some_ran
}

# Passes cargo's output on and fails when no test was in it: a filter that matches nothing proves nothing.
some_ran() {
  awk '{ print } /^test result: / { ran += $4 + $6 } END { if (!ran) print "no test ran"; exit !ran }'
}

tsan() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  case $host in
    x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
    *) skip "ThreadSanitizer is not set up for $host"; return ;;
  esac
  TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" \
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
    cargo test --target-dir "$TARGET/tsan" --target "$host" --no-default-features --test stress
}

# Builds and runs the quickstart as on a fresh machine, and prints its CPU seconds beside their bound. A machine that
# others use, too, may take longer than the bound: that is for a reader to judge, and no failure.
first_minutes() {
  ./bench.sh "$1"
}

# ---- what the checks need ---------------------------------------------------------------------------------

vulkan_loader() {
  { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep 'libvulkan\.so\.1' >/dev/null
}

# Whether that is here which programs for AArch64 are linked with, run in, or made of.
aarch64() {
  case $1 in
    linker) command -v aarch64-linux-gnu-gcc ;;
    libc) [[ -e /usr/aarch64-linux-gnu/lib/Scrt1.o ]] ;;
    emulator) command -v qemu-aarch64-static ;;
    target) [[ -d $(rustc --print sysroot)/lib/rustlib/$AARCH64/lib ]] ;;
  esac
}

# Prints the manifest of the lavapipe driver.
lavapipe() {
  local found
  found=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json /etc/vulkan/icd.d/lvp_icd*.json 2>/dev/null || true)
  [[ -n $found ]] && head -n 1 <<<"$found"
}

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

component() {
  rustup component add "$1"
}

rust_target() {
  rustup target add "$AARCH64" && echo "installed"
}

# Installs a package at exactly the version the distribution offers, and says which.
apt() {
  local version
  command -v apt-get >/dev/null || { echo "no apt-get here"; return 1; }
  if [[ -z ${apt_is_fresh-} ]]; then
    as_root apt-get update -qq || return 1
    apt_is_fresh=yes
  fi
  version=$(apt-cache policy "$1" | awk '/Candidate:/ { print $2 }')
  [[ -n $version && $version != "(none)" ]] || { echo "the distribution has no $1"; return 1; }
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "$1=$version" || return 1
  echo "installed $1 $version"
}

# Prints the version of a package that `apt` would install, where dpkg knows it.
version_of() {
  local version
  if [[ $1 == apt ]] && version=$(dpkg-query -W -f '${Version}' "$2" 2>/dev/null); then
    printf ', %s %s' "$2" "$version"
  fi
}

trim() {
  local text=$1
  text=${text#"${text%%[! ]*}"}
  printf '%s' "${text%"${text##*[! ]}"}"
}

# Says what is there and what is missing; with $1 = yes it installs that.
provide() {
  local row what probe install hand log=$LOGS/install.log
  for row in "${NEEDS[@]}"; do
    IFS='|' read -r what probe install hand <<<"$row"
    what=$(trim "$what") install=$(trim "$install") hand=$(trim "$hand")
    if $probe >/dev/null 2>&1; then
      echo "$what: here$(version_of $install)"
    elif [[ $1 == yes && $install != - ]] && $install >"$log" 2>&1; then
      echo "$what: $(tail -n 1 "$log")"
    elif [[ $1 == yes ]]; then
      echo "$what: missing, and could not be installed: $(tail -n 1 "$log" 2>/dev/null || true)"
    else
      echo "$what: missing; ./test.sh --install, or: $hand"
    fi
  done
}

# ---- running ----------------------------------------------------------------------------------------------

# Says why the running check cannot run, and ends it: `skip "why" ; return`.
skip() {
  echo "SKIP $check: $1" >>"$PELTON_SKIPS"
  return $CANNOT_RUN
}

# Adds up the results that cargo printed into a log; sets `tests` and `tests_failed`.
count() {
  read -r tests tests_failed < <(
    awk '/^test result: / { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$1"
  )
  sed -nE 's/^test (.+) \.\.\. ignored(, .*)?$/SKIP \1: ignored\2/p' "$1" >>"$PELTON_SKIPS"
}

# Runs one check; a check whose subject is not there yet does not exist.
run() {
  local needs command log start=$SECONDS status=0 tests tests_failed
  read -r check needs command <<<"$1"
  [[ -e $needs ]] || return 0
  log=$LOGS/$check.log
  printf '%-14s ' "$check"
  $command >"$log" 2>&1 </dev/null || status=$?
  count "$log"
  passed=$((passed + tests)) failed=$((failed + tests_failed))
  if ((status == 0)); then
    ((tests > 0)) || passed=$((passed + 1))
    echo "ok, $((SECONDS - start)) s$( ((tests == 0)) || echo ", $tests tests")"
  elif ((status == CANNOT_RUN && tests + tests_failed == 0)); then
    echo "skipped"
  else
    ((tests_failed > 0)) || failed=$((failed + 1))
    echo "FAILED, $((SECONDS - start)) s; the end of $log:"
    tail -n 80 "$log" | sed 's/^/    /'
  fi
  [[ $check != first-* ]] || sed 's/^/    /' "$log"
}

# Prints the skips, judges them, and ends with the line of totals.
finish() {
  local skipped refused=0
  awk '!seen[$0]++' "$PELTON_SKIPS" >"$PELTON_SKIPS.once"
  skipped=$(wc -l <"$PELTON_SKIPS.once")
  if [[ ${CI-} == true ]]; then
    refused=$(grep -cv 'needs a GPU\|needs AMX\|needs AVX\|needs NEON' "$PELTON_SKIPS.once" || true)
    failed=$((failed + refused))
  fi
  ((refused == 0)) || echo "CI=true: $refused skips count as failures; only a missing GPU, AMX, AVX or NEON excuses one"
  cat "$PELTON_SKIPS.once"
  echo "$passed passed, $failed failed, $((skipped)) skipped"
  ((failed == 0))
}

list() {
  local row name needs command
  for row in "${CHECKS[@]}"; do
    read -r name needs command <<<"$row"
    [[ ! -e $needs ]] || printf '%-14s %s\n' "$name" "$command"
  done
}

main() {
  local row install=no wanted=()
  while (($#)); do
    case $1 in
      --install) install=yes ;;
      --list) list; return ;;
      -*) echo "unknown option $1; see the head of $0" >&2; return 2 ;;
      *) wanted+=("$1") ;;
    esac
    shift
  done
  mkdir -p "$LOGS"
  export PELTON_SKIPS=$LOGS/skips CARGO_TERM_COLOR=never MESA_SHADER_CACHE_DISABLE=true
  : >"$PELTON_SKIPS"
  if [[ -z ${PELTON_DATA-} && -d ../shared/data ]]; then
    PELTON_DATA=$(cd ../shared/data && pwd)
    export PELTON_DATA
  fi
  provide $install
  if [[ -z ${PELTON_MINILM-} ]] && PELTON_MINILM=$(tests/encoder/fetch.sh --folder); then
    export PELTON_MINILM
  fi
  for row in "${CHECKS[@]}"; do
    if ((${#wanted[@]} == 0)) || [[ " ${wanted[*]} " == *" ${row%% *} "* ]]; then
      run "$row"
    fi
  done
  finish
}

main "$@"
