#!/usr/bin/env bash
# Builds the CUDA image that ships in the crate, and the manifest that says what is in it.
#
#   kernels/build.sh             writes kernels/image/pelton.fatbin and kernels/image/manifest.txt
#   kernels/build.sh --into DIR  writes both into DIR
#   kernels/build.sh --install   fetches the compiler, pinned by version and SHA-256, into $PELTON_TOOLKIT
#   kernels/build.sh --probe     says whether the compiler is there
#   kernels/build.sh --sass ARCH FILE  prints the machine code of a fatbin for one architecture
#
# The compiler lies in $PELTON_TOOLKIT, or in target/toolkit. Exit code 77: it is not there.
#
# The sources are compiled to PTX for compute_80 at the lowest version that assembles; from it ptxas makes the machine
# code of each architecture but sm_90a, for which they are compiled once more: there, kernels may use what no other has,
# and the code runs on compute capability 9.0 alone. The assembler is the one of CUDA 12.8, the first that knows all of
# them: drivers of CUDA 12 load what another 12 has made, but are not promised to load that of CUDA 13, whose ABI is
# another.
#
# The same sources give the same bytes, wherever and whenever they are built.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
toolkit=${PELTON_TOOLKIT:-${CARGO_TARGET_DIR:-${here%/*}/target}/toolkit}
[[ $toolkit == /* ]] || toolkit=$PWD/$toolkit
CUDA=$toolkit/nvidia/cu13/bin
ASSEMBLER=$toolkit/nvidia/cuda_nvcc/bin/ptxas
ARCHITECTURES="80 86 89 90a 100 120"
# The first that has compute_80, and every version between it and what the assembler knows.
PTX_VERSIONS="7.0 7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 8.0 8.1 8.2 8.3 8.4 8.5 8.6 8.7"
# Multiplications and additions stay apart, as on every other device.
FLAGS=(-std=c++17 -O3 -fmad=false -ftz=false -prec-div=true -prec-sqrt=true)
ASSEMBLER_FLAGS=(-O3 -fmad false)
CANNOT_RUN=77
# Where this run works; gone at its end.
temporary=
trap 'rm -rf "$temporary"' EXIT

# The version that a program of the compiler prints.
version() {
  "$1" --version 2>/dev/null | sed -n 's/.*, V//p'
}

probe() {
  [[ $(version "$CUDA/nvcc") == 13.0.88 && $(version "$ASSEMBLER") == 12.8.93 && -x $CUDA/cuobjdump ]]
}

need() {
  probe && return
  echo "the CUDA compiler is not in $toolkit: kernels/build.sh --install fetches it," \
    "or set PELTON_TOOLKIT to the folder that it was fetched to" >&2
  exit $CANNOT_RUN
}

install() {
  ! probe || { echo "here: $toolkit"; return; }
  [[ $(uname -sm) == "Linux x86_64" ]] || { echo "the pinned compiler runs on Linux on x86-64 only" >&2; return 1; }
  mkdir -p "$(dirname "$toolkit")"
  temporary=$toolkit.$$
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --no-compile --only-binary :all: \
    --require-hashes --requirement "$here/toolkit.txt" --target "$temporary"
  rm -rf "$toolkit"
  mv "$temporary" "$toolkit"
  probe || { echo "what was installed in $toolkit is not what was asked for" >&2; return 1; }
  echo "installed the CUDA compiler in $toolkit"
}

# Everything that the image is made from, in a fixed order: a hash of names and hashes.
source_hash() {
  cd "$here" && ls -- *.cu *.cuh build.sh | xargs sha256sum | sha256sum | cut -d ' ' -f 1
}

# Compiles pelton.cu for compute_$2 to $2.ptx, in folder $1, at the lowest version that assembles; prints that version.
ptx() {
  local version
  (cd "$here" && PATH=$CUDA:$PATH nvcc --ptx -arch="compute_$2" "${FLAGS[@]}" -Werror all-warnings \
    -o "$1/full.ptx" pelton.cu)
  for version in $PTX_VERSIONS; do
    # Names that are local to the file hold a hash of where it lies, eight digits.
    sed -E -e "s/^\.version .*/.version $version/" -e 's/_(INTERNAL|GLOBAL__N)_(_?)[0-9a-f]{8}_/_\1_\200000000_/g' \
      "$1/full.ptx" >"$1/$2.ptx"
    if "$ASSEMBLER" -arch="sm_$2" "${ASSEMBLER_FLAGS[@]}" "$1/$2.ptx" -o "$1/try.cubin" 2>"$1/why"; then
      echo "$version"
      return
    fi
  done
  cat "$1/why" >&2
  return 1
}

# One line for each kernel from what ptxas -v says about one architecture.
resources() {
  awk -v arch="$1" '
    /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
    /bytes stack frame/ { for (i = 2; i <= NF; i++) {
      if ($i == "bytes" && $(i + 1) == "stack") stack = $(i - 1)
      if ($i == "bytes" && $(i + 1) == "spill") spill += $(i - 1) } }
    / Used [0-9]+ registers/ {
      shared = 0
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^registers/) registers = $(i - 1)
        if ($i == "bytes" && $(i + 1) ~ /^smem/) shared = $(i - 1) }
      printf "%-16s %5s %10d %6d %6d %7d\n", name, arch, registers, stack, spill, shared
      spill = 0 }' "$2" | sort
}

build() {
  local into=$1 arch ptx_version ptx_version_90a images=()
  need
  mkdir -p "$into"
  into=$(cd "$into" && pwd)
  temporary=$(mktemp -d)
  ptx_version=$(ptx "$temporary" 80)
  ptx_version_90a=$(ptx "$temporary" 90a)
  cd "$temporary"
  export ASSEMBLER
  # The architectures do not need each other; two at a time is what a small machine bears.
  printf '%s\n' $ARCHITECTURES | xargs -P 2 -I ARCH sh -c \
    '[ -e ARCH.ptx ] && from=ARCH || from=80
     "$ASSEMBLER" -v -arch=sm_ARCH "$@" $from.ptx -o ARCH.cubin 2>ARCH.log || { cat ARCH.log >&2; exit 1; }' \
    assemble "${ASSEMBLER_FLAGS[@]}"
  # Products in shared memory that wait for each other where they need not.
  if grep -h "Performance Loss" ./*.log >&2; then return 1; fi
  for arch in $ARCHITECTURES; do
    images+=("--image3=kind=elf,sm=$arch,file=$arch.cubin")
  done
  # Compression that every driver since CUDA 11 undoes.
  "$CUDA/fatbinary" --create=pelton.fatbin -64 --compress-all --compress-mode=speed \
    "${images[@]}" --image3=kind=ptx,sm=80,file=80.ptx
  {
    echo "# What is in pelton.fatbin; kernels/build.sh writes both, tests/cuda_image.rs holds them to it."
    echo "source $(source_hash)"
    echo "image $(sha256sum <pelton.fatbin | cut -d ' ' -f 1)"
    echo "compiler nvcc $(version "$CUDA/nvcc") ${FLAGS[*]}"
    echo "assembler ptxas $(version "$ASSEMBLER") ${ASSEMBLER_FLAGS[*]}"
    echo "ptx compute_80 version $ptx_version"
    echo "ptx compute_90a version $ptx_version_90a"
    printf '# %-14s %5s %10s %6s %6s %7s\n' kernel sm registers stack spills shared
    for arch in $ARCHITECTURES; do resources "$arch" "$arch.log"; done | sort -k 1,1 -k 2,2n
  } >manifest.txt
  mv pelton.fatbin manifest.txt "$into"
}

case ${1-} in
  "") build "$here/image" ;;
  --into) build "${2:?a folder}" ;;
  --install) install ;;
  --probe) probe ;;
  --sass) need && PATH=$CUDA:$PATH cuobjdump -sass -arch "${2:?an architecture, such as sm_90a}" "${3:?a fatbin}" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" ; exit 2 ;;
esac
