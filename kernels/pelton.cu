// All kernels of the crate as one translation unit: what the images and the host's build are made of.
#include "prelude.cuh"
#include "encoder.cuh"
#include "window.cuh"

#include "finish.cu"
#include "gather.cu"

#include "sift.cu"

#include "group_count.cu"
#include "group_mark.cu"
#include "group_scan.cu"
#include "group_scatter.cu"
#include "group_segments.cu"

#include "dense.cu"
#include "keys.cu"
#include "rehash.cu"
#include "resolve.cu"
#include "settle.cu"

#include "elect.cu"
#include "ends.cu"
#include "expire.cu"
#include "fold.cu"

#include "art.cu"
#include "ensemble.cu"
#include "forest.cu"
#include "half_space.cu"
#include "loda.cu"
#include "profile.cu"
#include "season.cu"
#include "score.cu"
#include "spectral.cu"
#include "sub_pca.cu"

#include "clear.cu"
#include "fire.cu"
#include "merge.cu"
#include "zero.cu"

#include "attention.cu"
#include "embed.cu"
#include "gemm.cu"
#include "gemm_norm.cu"
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(CUDA_HOST)
#include "gemm_wgmma.cu"
#endif
#include "pool.cu"

#include "resident.cu"
