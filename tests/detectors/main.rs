//! Scores: every detector by itself and with others, what is decided, labels, states and order, on every device.

#[path = "../cuda_host/mod.rs"]
mod cuda_host;
#[path = "../kernels/mod.rs"]
mod kernels;
#[path = "../scores/mod.rs"]
mod scores;

mod adwin;
mod art;
mod attribution;
mod closed;
mod drift;
mod ensemble;
mod forest;
mod half_space;
mod labels;
mod learn;
mod loda;
mod order;
mod periods;
mod profile;
mod scores_cuda;
mod scores_spec;
mod scores_states;
mod scores_wgsl;
mod seasons;
mod spectral;
mod sub_pca;
