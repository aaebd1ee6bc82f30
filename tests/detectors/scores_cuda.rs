//! Scores on CUDA against those of the processor, bit for bit: over the stand-in for the driver, or on a device; and
//! the kernels alone in ten orders of their threads.

use crate::cuda_host;
use crate::cuda_host::driver::cuda;
use crate::scores::labels::same_labelled;
use crate::scores::order::same_by_time;
use crate::scores::states::{same_forgotten, same_restored};
use crate::scores::{
    CROWDED, MIXED, SHORT, Setup, arts, cutting, ensemble, forest, half_spaces, loda, profiles,
    same, same_arts, same_cuts, same_drifts, same_ensembles, same_forests, same_half_spaces,
    same_learnt, same_lodas, same_profiles, same_seasons, same_spectrals, same_sub_pcas, seasonal,
    spectrals, sub_pcas, wide,
};
use pelton::{Device, HalfSpaces, Loda, Profile, Spectral, SubPca};

#[test]
fn cuda_scores_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_scores_are_those_of_the_processor") else { return };
    for (seed, batch, chunk) in [(1, 1024, 5000), (2, 65_536, 9000), (3, 7, 60)] {
        let n = if batch < 100 { 2000 } else { 15_000 };
        same(&device, seed, &Setup { batch, chunk, in_flight: 3, ..Setup::default() }, n);
    }
}

#[test]
fn cuda_state_moves_to_the_processor_and_back() {
    let Some(device) = cuda("scores_cuda::cuda_state_moves_to_the_processor_and_back") else {
        return;
    };
    let moves = vec![Device::cpu(), device.clone()];
    same(&device, 5, &Setup { moves, ..Setup::default() }, 10_000);
}

#[test]
fn cuda_forests_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_forests_are_those_of_the_processor") else { return };
    for (seed, batch, n) in [(1, 1024, 9000), (2, 7, 700)] {
        same_forests(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_forests(&device, 5, &Setup { moves, ..Setup::default() }, 5000);
}

#[test]
fn cuda_states_leave_and_come_back() {
    let Some(device) = cuda("scores_cuda::cuda_states_leave_and_come_back") else { return };
    assert!(same_forgotten(&device, wide, (60, 32, true), (6, 500)) > 30);
    same_restored((&device, &Device::cpu()), wide, (7, 1500));
    same_restored((&Device::cpu(), &device), || forest(64), (8, 600));
    let trees = HalfSpaces { trees: 4, height: 5, window: 20 };
    same_restored((&Device::cpu(), &device), || half_spaces(trees), (9, 900));
    same_restored((&device, &Device::cpu()), || seasonal(SHORT, wide()), (10, 900));
    same_restored((&device, &Device::cpu()), || seasonal(MIXED, wide()), (10, 900));
    let small = Loda { projections: 4, cells: 16, window: 20 };
    same_restored((&Device::cpu(), &device), || loda(small), (11, 900));
    same_restored((&device, &Device::cpu()), || ensemble(wide()), (12, 900));
    let profile = Profile { points: 256, window: 8, shape: true };
    same_restored((&Device::cpu(), &device), || profiles(profile), (10, 1500));
    let pca = SubPca { window: 8, rank: 2 };
    same_restored((&device, &Device::cpu()), || sub_pcas(pca), (11, 1500));
    let short = Spectral { window: 32 };
    same_restored((&device, &Device::cpu()), || spectrals(short), (12, 900));
    same_restored((&device, &Device::cpu()), || arts(CROWDED), (13, 1500));
    same_restored((&Device::cpu(), &device), || cutting(wide()), (14, 3000));
}

#[test]
fn cuda_labels_are_taken_as_on_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_labels_are_taken_as_on_the_processor") else {
        return;
    };
    same_labelled(&device, wide, (1, 3000));
    same_labelled(&device, || cutting(wide()), (1, 6000));
}

#[test]
fn cuda_scores_by_event_time() {
    let Some(device) = cuda("scores_cuda::cuda_scores_by_event_time") else { return };
    same_by_time(&device, wide, (1, 1200, 3), (500, u64::MAX));
}

#[test]
fn cuda_half_spaces_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_half_spaces_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 9000), (2, 7, 700)] {
        same_half_spaces(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_half_spaces(&device, 5, &Setup { moves, ..Setup::default() }, 5000);
}

#[test]
fn cuda_seasons_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_seasons_are_those_of_the_processor") else { return };
    for (seed, batch, n) in [(1, 1024, 9000), (2, 7, 700)] {
        same_seasons(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_seasons(&device, 5, &Setup { moves, ..Setup::default() }, 5000);
}

#[test]
fn cuda_found_seasons_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_found_seasons_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 3000), (2, 7, 500)] {
        same_learnt(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_learnt(&device, 5, &Setup { moves, ..Setup::default() }, 2000);
}

#[test]
fn cuda_projections_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_projections_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 9000), (2, 7, 700)] {
        same_lodas(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_lodas(&device, 5, &Setup { moves, ..Setup::default() }, 5000);
}

#[test]
fn cuda_profiles_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_profiles_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 4000), (2, 7, 400)] {
        same_profiles(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_profiles(&device, 5, &Setup { moves, ..Setup::default() }, 2500);
}

#[test]
fn cuda_components_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_components_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 2500), (2, 7, 300)] {
        same_sub_pcas(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_sub_pcas(&device, 5, &Setup { moves, ..Setup::default() }, 1500);
}

#[test]
fn cuda_spectra_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_spectra_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 1200), (2, 7, 300)] {
        same_spectrals(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_spectrals(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 800);
}

#[test]
fn cuda_arts_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_arts_are_those_of_the_processor") else { return };
    for (seed, batch, n) in [(1, 1024, 4000), (2, 7, 700)] {
        same_arts(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_arts(&device, 5, &Setup { moves, ..Setup::default() }, 2500);
}

#[test]
fn cuda_ensembles_are_those_of_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_ensembles_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 3000), (2, 7, 300)] {
        same_ensembles(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_ensembles(&device, 5, &Setup { moves, ..Setup::default() }, 2000);
    same_labelled(&device, || ensemble(wide()), (3, 2000));
}

#[test]
fn cuda_keys_drift_as_on_the_processor() {
    let Some(device) = cuda("scores_cuda::cuda_keys_drift_as_on_the_processor") else {
        return;
    };
    same_drifts(&device, 1, &Setup { in_flight: 3, ..Setup::default() }, 4000);
    let moves = vec![Device::cpu(), device.clone()];
    same_drifts(&device, 5, &Setup { batch: 100, moves: moves.clone(), ..Setup::default() }, 2500);
    same_cuts(&device, 2, &Setup { in_flight: 3, ..Setup::default() }, 4000);
    same_cuts(&device, 6, &Setup { batch: 100, moves, ..Setup::default() }, 3000);
}

#[test]
fn kernels_score_alike_in_all_orders() {
    for order in 0..10 {
        let test = "scores_cuda::kernels_score_alike_in_all_orders";
        let Some(device) = cuda_host::device::open(test, order) else { return };
        let setup = Setup { batch: 2048, chunk: 3000, ..Setup::default() };
        same(&device, order, &setup, 3000);
        if order < 3 {
            same_forests(&device, order, &setup, 1500);
            same_half_spaces(&device, order, &setup, 3000);
            same_seasons(&device, order, &setup, 3000);
            same_learnt(&device, order, &setup, 1500);
            same_lodas(&device, order, &setup, 3000);
            same_profiles(&device, order, &setup, 1500);
            same_sub_pcas(&device, order, &setup, 1500);
            same_spectrals(&device, order, &setup, 600);
            same_arts(&device, order, &setup, 1500);
        }
    }
}
