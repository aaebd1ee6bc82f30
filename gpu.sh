#!/usr/bin/env bash
# Packs pelton's CUDA tests and its benches for a machine with a GPU, which needs a driver and nothing else.
#
#   ./gpu.sh pack DIR    builds and strips the programs; copied to that machine, DIR/run.sh OUT.json runs all of it
#
# Packed are the tests whose names begin with cuda_, but not those of cuda_kernels_, which run the sources as host code;
# and every bench. They run on a Linux of the same architecture whose C library is not older than the newest symbol that
# they ask for, which is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Tests that read sources, or run kernels of their own that are not in the image, by their modules.
NOT_THERE='^(shaders|device)::'
BYTES_MAX=60000000
SECONDS_PER_TEST=600
SECONDS_PER_BENCH=600

# The names of tests for the device, of lines that have $1 before them and $2 behind; fails when there is none.
device_tests() {
  sed -nE "s/$1(([a-z0-9_]+::)*cuda_[a-z0-9_]+)$2.*/\\1/p" | grep -vE "(^|::)cuda_kernels_|$NOT_THERE"
}

# Builds what the arguments say and prints a line for each program: its kind, its name, where it is.
built() {
  cargo "$@" --release --message-format=json-render-diagnostics |
    sed -nE 's/.*"kind":\["([a-z]+)".*"name":"([^"]+)".*"executable":"([^"]+)".*/\1 \2 \3/p'
}

# Every test program with such a test, as arguments for cargo.
test_programs() {
  local file name
  for file in tests/*.rs tests/*/main.rs; do
    name=${file#tests/} name=${name%/main.rs} name=${name%.rs}
    if [[ $file == */main.rs ]]; then file=${file%main.rs}*.rs; fi
    # shellcheck disable=SC2086 # all of them
    ! cat $file | device_tests "^ *fn " "\\(" >/dev/null || echo "--test $name"
  done
}

# Copies the programs and writes the list of what is run: kind, program, test, seconds.
programs() {
  local kind name path test files
  files=$(test_programs)
  {
    # Without wgpu, which these tests have no use for, they are a quarter of the size.
    # shellcheck disable=SC2086 # one word each
    built test --no-run --no-default-features --features cuda,model $files
    built build --example bench_devices
    built test --no-run --bench '*'
  } | sort -u | while read -r kind name path; do
    if [[ $kind == test ]]; then
      "$path" --list --format terse 2>/dev/null | device_tests "^" ": test" |
        sed "s/.*/test $name & $SECONDS_PER_TEST/"
    else
      echo "$kind $name - $SECONDS_PER_BENCH"
    fi
    cp "$path" "$dir/bin/$name"
    strip "$dir/bin/$name"
  done >"$dir/parts"
}

pack() {
  dir=${1:?a folder}
  [[ ! -e $dir ]] || { echo "$dir is there already; name a folder that is not" >&2; return 1; }
  mkdir -p "$dir/bin"
  dir=$(cd "$dir" && pwd)
  programs
  grep -q '^test ' "$dir/parts" || { echo "no test begins with cuda_: there is nothing to prove there" >&2; return 1; }
  cp benches/gpu_run.sh "$dir/run.sh"
  cat >"$dir/built" <<END
PELTON_COMMIT=$(git rev-parse HEAD)
PELTON_CHANGES=$(git status --porcelain --untracked-files=no | wc -l | sed 's/^ *0$//')
PELTON_RUSTC=$(rustc --version)
END
  local bytes tests glibc
  glibc=$(objdump -T "$dir"/bin/* | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
  gzip "$dir"/bin/*
  bytes=$(du -sb "$dir" | cut -f 1) tests=$(grep -c '^test ' "$dir/parts")
  echo "$tests tests, $(grep -vc '^test ' "$dir/parts") benches, $((bytes / 1000000)) MB in $dir"
  echo "needs $glibc or newer there"
  ((bytes <= BYTES_MAX)) || { echo "more than $((BYTES_MAX / 1000000)) MB" >&2; return 1; }
}

case ${1-} in
  pack) pack "${2-}" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
