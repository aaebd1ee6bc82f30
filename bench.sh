#!/usr/bin/env bash
# Runs one bench by its id and prints one line of JSON; --list names them all.
#
#   ./bench.sh --list
#   ./bench.sh S7-none
#
# A row of the table is an id, a command and what it measures; a new bench is a new row. The command prints
# one line of JSON on standard output and everything else on standard error. Keys: id value unit peer version
# peer_value ratio bound ok why rounds machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# id          | command                      | what it measures
BENCHES=(
  "S2-zipf    | peer windows S2-zipf         | the digest of 20,000,000 events, Zipf keys"
  "S2-uniform | peer windows S2-uniform      | the same, uniform keys"
  "S3-lane    | peer rings S3-lane           | one producer, one consumer, runs of 64, against rtrb"
  "S3-shared  | peer rings S3-shared         | four producers, against disruptor's multi-producer"
  "S3-visible | peer rings S3-visible        | publish to visible, against a cache line's ping-pong"
  "S4-zipf    | peer windows S4-zipf         | windows in CPU seconds, against a plain loop and batch engines"
  "S4-uniform | peer windows S4-uniform      | the same, uniform keys"
  "S4-hopping | peer windows S4-hopping      | hopping 60 s / 1 s, against tumbling 60 s"
  "S4-keys    | peer windows S4-keys         | ten million keys: time and memory"
  "S5-step    | bench seam S5-step           | a plan of 12 steps on the null device, nanoseconds a step"
  "S5-overhead | bench seam S5-overhead      | the host's share of a batch on the CPU, with an empty kernel"
  "S5-wgpu    | bench wgpu_seam S5-wgpu      | a batch through the wgpu seam, against wgpu by hand"
  "S5-wgpu-one | bench wgpu_seam S5-wgpu-one | the same with one batch in flight: a round trip"
  "S5-wgpu-alloc | bench wgpu_seam S5-wgpu-alloc | the same: allocations of a batch"
  "C6-ingest-uniform | bench ingest C6-ingest-uniform | the ingest kernels alone, on CUDA against the bus"
  "C6-ingest-zipf | bench ingest C6-ingest-zipf | the same, skewed keys"
  "C6-256-p50 | bench round_trip C6-256-p50  | 256 events on an idle pipeline, commit to done"
  "C6-256-p99 | bench round_trip C6-256-p99  | the same, of a hundred the slowest but one"
  "C6-4096-p50 | bench round_trip C6-4096-p50 | the same with 4,096 events"
  "C6-4096-p99 | bench round_trip C6-4096-p99 | the same, of a hundred the slowest but one"
  "C6-256-latency-p50 | bench round_trip C6-256-latency-p50 | 256 events in the latency mode of a CUDA device"
  "C6-256-latency-p99 | bench round_trip C6-256-latency-p99 | the same, of a hundred the slowest but one"
  "C6-4096-latency-p50 | bench round_trip C6-4096-latency-p50 | the same with 4,096 events"
  "C6-4096-latency-p99 | bench round_trip C6-4096-latency-p99 | the same, of a hundred the slowest but one"
  "C6-bus     | bench cuda_bus C6-bus        | page-locked memory copied to a CUDA card: the bus"
  "C6-bus-back | bench cuda_bus C6-bus-back  | the same, from the card to the host"
  "A2-1e-4    | bench score A2-1e-4          | scores below a probability of 1e-4 in control, by that probability"
  "A2-1e-5    | bench score A2-1e-5          | the same, 1e-5"
  "A2-young-1e-4 | bench score A2-young-1e-4 | the same of keys that saw 5,000 events, 1e-4"
  "A2-young-1e-5 | bench score A2-young-1e-5 | the same of keys that saw 5,000 events, 1e-5"
  "A2-forest-1e-4 | bench score A2-forest-1e-4 | the same by forests, 1e-4"
  "A2-forest-1e-5 | bench score A2-forest-1e-5 | the same by forests, 1e-5"
  "A2-ensemble-1e-4 | bench score A2-ensemble-1e-4 | the same by the ensemble of the example nab, 1e-4"
  "A2-ensemble-1e-5 | bench score A2-ensemble-1e-5 | the same by the ensemble of the example nab, 1e-5"
  "A2-season-1e-4 | bench score A2-season-1e-4 | the same by seasons whose length each key finds, 1e-4"
  "A2-season-1e-5 | bench score A2-season-1e-5 | the same by seasons whose length each key finds, 1e-5"
  "A2-subpca-1e-4 | bench score A2-subpca-1e-4 | the same by principal components, 1e-4"
  "A2-subpca-1e-5 | bench score A2-subpca-1e-5 | the same by principal components, 1e-5"
  "A2-spectral-1e-4 | bench score A2-spectral-1e-4 | the same by spectral residuals, 1e-4"
  "A2-spectral-1e-5 | bench score A2-spectral-1e-5 | the same by spectral residuals, 1e-5"
  "A2-art-1e-4 | bench score A2-art-1e-4 | the same by fuzzy ART, 1e-4"
  "A2-art-1e-5 | bench score A2-art-1e-5 | the same by fuzzy ART, 1e-5"
  "A2-loda-1e-4 | bench score A2-loda-1e-4 | the same by projections, 1e-4"
  "A2-loda-1e-5 | bench score A2-loda-1e-5 | the same by projections, 1e-5"
  "A2-trees-1e-4 | bench score A2-trees-1e-4 | the same by half-space trees, 1e-4"
  "A2-trees-1e-5 | bench score A2-trees-1e-5 | the same by half-space trees, 1e-5"
  "A2-profile-1e-4 | bench score A2-profile-1e-4 | the same by left matrix profiles, 1e-4"
  "A2-profile-1e-5 | bench score A2-profile-1e-5 | the same by left matrix profiles, 1e-5"
  "A2-drift   | bench drift A2-drift         | keys that stay as they are and are forgotten, by ADWIN and Page; delays"
  "A3-ewma-1k | bench score A3-ewma-1k       | keyed scores and decision on one core, against a plain EWMA loop"
  "A3-ewma-100k | bench score A3-ewma-100k   | the same, 100,000 keys"
  "A3-ewma-1m | bench score A3-ewma-1m       | the same, 1,000,000 keys"
  "A3-forest  | peer forest A3-forest         | a random cut forest on one core, against random-cut-forest-by-aws"
  "A3-trees   | python river A3-trees        | half-space trees on one core, against River's"
  "A3-profile | python stumpy A3-profile     | a left matrix profile by values on one core, against stumpy's"
  "A3-profile-shape | python stumpy A3-profile-shape | the same by shape, which is stumpy's default"
  "A3-season  | bench season A3-season     | a season that is found, twelve events a slot, against the named one"
  "A3-season-one | bench season A3-season-one | the same, an event a slot"
  "A3-subpca  | bench stretch A3-subpca      | principal components on one core, against a plain loop in f64"
  "A3-spectral | bench stretch A3-spectral   | spectral residuals on one core, against a plain loop in f64"
  "T3-f32-1x32 | peer encoder T3-f32-1x32  | MiniLM in F32 on one core, one text of 32 tokens, against candle"
  "T3-f32-32x128 | peer encoder T3-f32-32x128 | the same, 32 texts of 128 tokens"
  "T3-int8-1x32 | peer encoder T3-int8-1x32 | MiniLM in INT8, one core, against ONNX Runtime, PyTorch and candle"
  "T3-int8-32x128 | peer encoder T3-int8-32x128 | the same, 32 texts of 128 tokens"
  "T3-bf16-1x32 | peer encoder T3-bf16-1x32 | the same in BF16, one text of 32 tokens"
  "T3-bf16-32x128 | peer encoder T3-bf16-32x128 | the same, 32 texts of 128 tokens"
  "T3-f16-1x32 | peer encoder T3-f16-1x32 | the same in F16, one text of 32 tokens"
  "T3-f16-32x128 | peer encoder T3-f16-32x128 | the same, 32 texts of 128 tokens"
  "T3-avx2-f32-1x32 | avx2 peer encoder T3-avx2-f32-1x32 | F32 with our instructions held down to AVX2, not the peers'"
  "T3-avx2-f32-32x128 | avx2 peer encoder T3-avx2-f32-32x128 | the same, 32 texts of 128 tokens"
  "T3-avx2-f16-1x32 | avx2 peer encoder T3-avx2-f16-1x32 | the same in F16, one text of 32 tokens"
  "T3-avx2-f16-32x128 | avx2 peer encoder T3-avx2-f16-32x128 | the same, 32 texts of 128 tokens"
  "T3-avx2-bf16-1x32 | avx2 peer encoder T3-avx2-bf16-1x32 | the same in BF16, one text of 32 tokens"
  "T3-avx2-bf16-32x128 | avx2 peer encoder T3-avx2-bf16-32x128 | the same, 32 texts of 128 tokens"
  "T3-avx2-int8-1x32 | avx2 peer encoder T3-avx2-int8-1x32 | the same in INT8, one text of 32 tokens"
  "T3-avx2-int8-32x128 | avx2 peer encoder T3-avx2-int8-32x128 | the same, 32 texts of 128 tokens"
  "T4         | peer burn T4               | MiniLM on the software adapter, one text of 32 tokens, against burn"
  "T5-gemm-4096 | python torch T5-gemm-4096 | on a CUDA card: a product in BF16, 4,096 on each side, against cuBLAS"
  "T5-gemm-8192 | python torch T5-gemm-8192 | the same, 8,192 on each side"
  "T5-inner   | python torch T5-inner       | an encoder's inner layer with GELU, against cuBLASLt and a GELU"
  "T5-attention | python torch T5-attention | attention over 32 texts of 128 tokens, 12 heads of 32, against PyTorch's"
  "T5-1x32-p50 | python torch T5-1x32-p50   | MiniLM in F16, one text of 32 tokens, ids to vector, against PyTorch"
  "T5-1x32-p99 | python torch T5-1x32-p99   | the same, of a hundred the slowest but one"
  "T5-32x128  | python torch T5-32x128      | texts a second, 32 of 128 tokens at a time"
  "T6-load    | bench text_load T6-load    | ten minutes of texts in bursts at 90 % of capacity: deadlines, memory"
  "T6-brief   | bench text_load T6-brief   | the same for one minute"
  "S7-default | first_minutes S7-default 250 | CPU seconds of a clean build and run of the quickstart"
  "S7-none    | first_minutes S7-none 40 --no-default-features | the same with no features"
)

# ---- commands of the table --------------------------------------------------------------------------------

# peer PACKAGE ID: a package of its own, so that rivals never enter pelton's dependencies.
peer() {
  if [[ $1 == @(encoder|burn) && -z ${PELTON_MINILM-} ]]; then
    PELTON_MINILM=$(tests/encoder/fetch.sh --folder) ||
      { echo "tests/encoder/fetch.sh --install fetches the model, or set PELTON_MINILM" >&2; return 2; }
    export PELTON_MINILM
  fi
  # Rivals that have threads get one.
  export RAYON_NUM_THREADS=${RAYON_NUM_THREADS-1}
  cargo run --release -q --manifest-path "benches/peers/$1/Cargo.toml" -- "$2"
}

# avx2 COMMAND...: the processor's products by AVX2 alone.
avx2() {
  PELTON_CPU_TIER=avx2 "$@"
}

# bench FILE ID: a bench of this package.
bench() {
  if [[ $1 == t* && -z ${PELTON_MINILM-} ]] && PELTON_MINILM=$(tests/encoder/fetch.sh --folder); then
    export PELTON_MINILM
  fi
  cargo bench -q --bench "$1" -- "$2"
}

# python PEER ID: a bench beside a library for Python, which gets an environment of its own: tensor beside torch, which
# takes some gigabytes, score beside all others.
python() {
  local home=$PWD/target/$1 name=PELTON_${1^^}
  if [[ -z ${!name-} ]]; then
    [[ -e $home/ready ]] ||
      { python3 -m venv "$home" && "$home/bin/pip" install -q -r "benches/peers/$1/requirements.txt" &&
        touch "$home/ready"; } >&2 ||
      { echo "python3 with venv fetches $1, or set $name to a Python that has it" >&2; return 2; }
    export "$name=$home/bin/python"
  fi
  # Rivals that have threads get one.
  local bench=score
  [[ $1 != torch ]] || bench=tensor
  NUMBA_NUM_THREADS=1 bench "$bench" "$2"
}

# first_minutes ID BOUND [FLAG...]: user and system seconds of a clean build and run of the quickstart.
first_minutes() {
  local id=$1 bound=$2 cpu ok status=0 why="user and system seconds of a clean release build and run"
  shift 2
  temporary=$(mktemp -d)
  trap 'rm -rf "$temporary"' EXIT
  cargo fetch -q >&2
  local TIMEFORMAT='%U %S'
  cpu=$({ time env -u RUSTC_WRAPPER -u RUSTFLAGS CARGO_TARGET_DIR="$temporary/target" \
    cargo run --release --example quickstart "$@" >"$temporary/log" 2>&1; } 2>&1) || status=$?
  cat "$temporary/log" >&2
  cpu=$(awk '{ printf "%.1f", $1 + $2 }' <<<"$cpu")
  ok=$(awk -v cpu="$cpu" -v bound="$bound" 'BEGIN { print (cpu <= bound) ? "true" : "false" }')
  ((status == 0)) || ok=false why="the build or the run failed"
  printf '{"id":"%s","value":%s,"unit":"CPU s","peer":null,"version":null,"peer_value":null,' "$id" "$cpu"
  printf '"ratio":null,"bound":%s,"ok":%s,"why":"%s","rounds":1,"machine":"%s"}\n' \
    "$bound" "$ok" "$why" "$(machine)"
  return $status
}

# The processor, its cores and the system, in one phrase.
machine() {
  local cpu
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1 | tr -d '"\\') || true
  echo "${cpu:-$(uname -m)}, $(getconf _NPROCESSORS_ONLN) cores, $(uname -sr)"
}

# ---- the table --------------------------------------------------------------------------------------------

# Where a command of the table lives; a row whose bench is not there does not exist.
home() {
  case $1 in
    avx2) home "${@:2}" ;;
    peer) echo "benches/peers/$2" ;;
    bench) echo "benches/$2.rs" ;;
    python) echo "benches/peers/$2" ;;
    first_minutes) echo "examples/quickstart/main.rs" ;;
  esac
}

trim() {
  local text=$1
  text=${text#"${text%%[! ]*}"}
  printf '%s' "${text%"${text##*[! ]}"}"
}

list() {
  local row id command what where
  for row in "${BENCHES[@]}"; do
    IFS='|' read -r id command what <<<"$row"
    where=$(home $command)
    [[ ! -e $where ]] || printf '%-11s %s [%s]\n' "$(trim "$id")" "$(trim "$what")" "$where"
  done
}

run() {
  local row id command what
  for row in "${BENCHES[@]}"; do
    IFS='|' read -r id command what <<<"$row"
    if [[ $(trim "$id") == "$1" && -e $(home $command) ]]; then
      $command
      return
    fi
  done
  echo "no bench is called $1; ./bench.sh --list names them" >&2
  return 2
}

case ${1---help} in
  --list) list ;;
  -*) sed -n '2,9s/^# \{0,1\}//p' "$0" ;;
  *) run "$1" ;;
esac
