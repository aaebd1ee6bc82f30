//! Scores on the software adapter against those of the processor, bit for bit: it divides correctly rounded.

use crate::kernels::bed::software;
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
fn wgsl_scores_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_scores_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, chunk) in [(1, 1024, 5000), (2, 65_536, 9000), (3, 7, 60)] {
        let n = if batch < 100 { 500 } else { 30_000 };
        same(&device, seed, &Setup { batch, chunk, in_flight: 3, ..Setup::default() }, n);
    }
}

#[test]
fn wgsl_state_moves_to_the_processor_and_back() {
    let Some(device) = software("scores_wgsl::wgsl_state_moves_to_the_processor_and_back") else {
        return;
    };
    let moves = vec![Device::cpu(), device.clone()];
    same(&device, 5, &Setup { moves, ..Setup::default() }, 20_000);
}

/// The adapter ends a thread after 65,535 turns of its loops, in silence; so a batch may hold few events of a key.
#[test]
fn wgsl_forests_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_forests_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 64, 8000), (2, 7, 500)] {
        same_forests(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_forests(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 4000);
}

#[test]
fn wgsl_states_leave_and_come_back() {
    let Some(device) = software("scores_wgsl::wgsl_states_leave_and_come_back") else {
        return;
    };
    assert!(same_forgotten(&device, wide, (60, 32, true), (6, 3000)) > 100);
    same_restored((&device, &Device::cpu()), wide, (7, 4000));
    same_restored((&Device::cpu(), &device), || forest(64), (8, 2000));
    let trees = HalfSpaces { trees: 4, height: 5, window: 20 };
    same_restored((&Device::cpu(), &device), || half_spaces(trees), (9, 900));
    same_restored((&device, &Device::cpu()), || seasonal(SHORT, wide()), (10, 2000));
    same_restored((&device, &Device::cpu()), || seasonal(MIXED, wide()), (10, 2000));
    let small = Loda { projections: 4, cells: 16, window: 20 };
    same_restored((&Device::cpu(), &device), || loda(small), (11, 900));
    same_restored((&device, &Device::cpu()), || ensemble(wide()), (12, 900));
    let profile = Profile { points: 256, window: 8, shape: true };
    same_restored((&Device::cpu(), &device), || profiles(profile), (10, 2000));
    let pca = SubPca { window: 8, rank: 2 };
    same_restored((&device, &Device::cpu()), || sub_pcas(pca), (11, 2000));
    let short = Spectral { window: 32 };
    same_restored((&device, &Device::cpu()), || spectrals(short), (12, 900));
    same_restored((&device, &Device::cpu()), || arts(CROWDED), (13, 1500));
    same_restored((&Device::cpu(), &device), || cutting(wide()), (14, 3000));
}

#[test]
fn wgsl_labels_are_taken_as_on_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_labels_are_taken_as_on_the_processor") else {
        return;
    };
    same_labelled(&device, wide, (1, 6000));
    same_labelled(&device, || half_spaces(HalfSpaces::default()), (2, 3000));
    same_labelled(&device, || cutting(wide()), (1, 6000));
}

#[test]
fn wgsl_scores_by_event_time() {
    let Some(device) = software("scores_wgsl::wgsl_scores_by_event_time") else { return };
    same_by_time(&device, wide, (1, 1200, 3), (500, u64::MAX));
}

#[test]
fn wgsl_half_spaces_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_half_spaces_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 64, 8000), (2, 7, 500), (3, 500, 20_000)] {
        same_half_spaces(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_half_spaces(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 6000);
}

#[test]
fn wgsl_seasons_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_seasons_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 64, 8000), (2, 7, 500), (3, 500, 20_000)] {
        same_seasons(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_seasons(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 6000);
}

#[test]
fn wgsl_found_seasons_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_found_seasons_are_those_of_the_processor")
    else {
        return;
    };
    for (seed, batch, n) in [(1, 64, 4000), (2, 7, 700)] {
        same_learnt(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_learnt(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 3000);
}

#[test]
fn wgsl_projections_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_projections_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 64, 8000), (2, 7, 500), (3, 256, 20_000)] {
        same_lodas(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_lodas(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 6000);
}

#[test]
fn wgsl_profiles_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_profiles_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 9000), (2, 7, 500)] {
        same_profiles(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_profiles(&device, 5, &Setup { moves, ..Setup::default() }, 5000);
}

#[test]
fn wgsl_keys_drift_as_on_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_keys_drift_as_on_the_processor") else {
        return;
    };
    same_drifts(&device, 1, &Setup { batch: 64, in_flight: 3, ..Setup::default() }, 4000);
    let moves = vec![Device::cpu(), device.clone()];
    same_drifts(&device, 5, &Setup { batch: 64, moves: moves.clone(), ..Setup::default() }, 2500);
    same_cuts(&device, 2, &Setup { batch: 64, in_flight: 3, ..Setup::default() }, 4000);
    same_cuts(&device, 6, &Setup { batch: 64, moves, ..Setup::default() }, 3000);
}

#[test]
fn wgsl_components_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_components_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 8000), (2, 7, 500)] {
        same_sub_pcas(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_sub_pcas(&device, 5, &Setup { moves, ..Setup::default() }, 4000);
}

#[test]
fn wgsl_spectra_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_spectra_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 64, 3000), (2, 7, 500)] {
        same_spectrals(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_spectrals(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 2000);
}

#[test]
fn wgsl_arts_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_arts_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 1024, 8000), (2, 7, 700)] {
        same_arts(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_arts(&device, 5, &Setup { moves, ..Setup::default() }, 5000);
}

#[test]
fn wgsl_ensembles_are_those_of_the_processor() {
    let Some(device) = software("scores_wgsl::wgsl_ensembles_are_those_of_the_processor") else {
        return;
    };
    for (seed, batch, n) in [(1, 64, 6000), (2, 7, 400)] {
        same_ensembles(&device, seed, &Setup { batch, in_flight: 3, ..Setup::default() }, n);
    }
    let moves = vec![Device::cpu(), device.clone()];
    same_ensembles(&device, 5, &Setup { batch: 64, moves, ..Setup::default() }, 2000);
    same_labelled(&device, || ensemble(wide()), (3, 2000));
}
