//! Mistakes planted in kernels: the tests of windows and scores find each.

#[path = "../cuda_host/mod.rs"]
mod cuda_host;
#[path = "../hand/mod.rs"]
mod hand;
#[path = "../scores/mod.rs"]
mod scores;
#[path = "../windows/mod.rs"]
mod windows;

mod cuda_planted;
mod periods_planted;
mod scores_planted;
mod together_planted;
