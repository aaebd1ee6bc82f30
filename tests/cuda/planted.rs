//! Mistakes planted between the backend and its device, one at a time: each is found, in some order of the streams.
//!
//! `cargo test --test cuda planted -- --nocapture` shows what was planted and how it was found. Those in the kernels
//! themselves are planted by `cuda_planted`.

use super::child::{outcome, role};
use super::cuda_host::Plant;
use super::cuda_host::driver::{DRIVER, StandIn, over_stand_in};
use super::{COPY_BYTES, latency, scenario, scenario_on};
use pelton::Device;

/// What is planted.
enum Mistake {
    /// A function of the driver that is not called.
    Forgotten(&'static str),
    /// Another text in a source.
    Written(Plant<'static>),
}

/// What stands for the latency mode, where the copy engine has no part.
const LATENCY: &str = "latency";

/// A text of a kernel that the latency mode runs, and what is planted in its place.
const fn resident(file: &'static str, from: &'static str, to: &'static str) -> Mistake {
    Mistake::Written(Plant { file, from, to })
}

const MISTAKES: &[(&str, &str, Mistake)] = &[
    ("nothing", "1000000000", Mistake::Forgotten("nothing")),
    (
        "a missing stream wait: kernels run before their events are there",
        "0",
        Mistake::Forgotten("cuStreamWaitEvent"),
    ),
    (
        "an early free: memory is given back while the device uses it",
        "16384",
        Mistake::Forgotten("cuStreamSynchronize"),
    ),
    (
        "staging memory used again before its copy",
        "16384",
        Mistake::Forgotten("cuEventSynchronize"),
    ),
    (
        "a header overwritten while in flight: its mark comes a round too early",
        "1000000000",
        Mistake::Written(Plant {
            file: "kernels/finish.cu",
            from: "= kept[KEPT_TICKET];",
            to: "= kept[KEPT_TICKET] + 3;",
        }),
    ),
    (
        "a result that is marked before it is there",
        "16384",
        Mistake::Written(Plant {
            file: "kernels/finish.cu",
            from: "min(max(out[0], 1u), out.len)",
            to: "min(max(out[0], 1u), out.len) - 4",
        }),
    ),
    (
        "events taken four words off",
        "1000000000",
        Mistake::Written(Plant {
            file: "kernels/gather.cu",
            from: "<const uint4*>(from + i)",
            to: "<const uint4*>(from + (i ^ 4))",
        }),
    ),
    (
        "an output whose counters are not zeroed",
        "16384",
        Mistake::Written(Plant {
            file: "kernels/gather.cu",
            from: "        out[thread] = 0;\n",
            to: "",
        }),
    ),
    (
        "a missing barrier of the grid: a step begins before all blocks have done the one before",
        LATENCY,
        resident("kernels/resident.cu", "            step_barrier(alone, i);\n", ""),
    ),
    (
        "a missing barrier of the block that serves alone",
        LATENCY,
        resident(
            "kernels/resident.cu",
            "            __syncthreads();\n        } else {",
            "        } else {",
        ),
    ),
    (
        "a stale flag: the command of an earlier batch is taken for the next one's",
        LATENCY,
        resident("kernels/resident.cu", "low_of(command) == ticket", "low_of(command) != 0"),
    ),
    (
        "a ticket written before the output",
        LATENCY,
        resident(
            "kernels/finish.cu",
            "    if (out.len != 0) {\n",
            "    if (threadIdx.x == 0 && block.index == 0) {\n        mark[0] = kept[KEPT_TICKET];\n        \
             __nanosleep(20);\n    }\n    __syncthreads();\n    if (out.len != 0) {\n",
        ),
    ),
    (
        "a barrier of the grid that lets go of those who come again",
        LATENCY,
        resident(
            "kernels/grid.cuh",
            "            while (now(shared[ROUND]) == round) {\n                __nanosleep(20);\n            }\n",
            "",
        ),
    ),
];

#[test]
fn cuda_planted_mistakes_are_found() {
    const TEST: &str = "planted::cuda_planted_mistakes_are_found";
    if let Some(role) = role(TEST) {
        let (_, _, mistake) = &MISTAKES[role.parse::<usize>().expect("a number")];
        match mistake {
            Mistake::Forgotten(function) => {
                StandIn::load().expect("it is there for the parent").ignore(function);
            }
            Mistake::Written(plant) => {
                StandIn::load_as(&super::cuda_host::Library { plant: Some(*plant), ..DRIVER })
                    .expect("it is there for the parent");
            }
        }
        if MISTAKES[role.parse::<usize>().expect("a number")].1 == LATENCY {
            let device = Device::named("cuda").expect("opening it serves no batch so");
            let found = latency::scenario_on(&device).expect("CUDA_ERROR or what it is");
            assert!(found == latency::right(), "another answer");
            return;
        }
        let right = scenario_on(&Device::cpu());
        (0..3).for_each(|_| assert!(scenario() == right, "another answer"));
        return;
    }
    if over_stand_in(TEST).is_none() {
        return;
    }
    for (i, (what, copy_bytes, _)) in MISTAKES.iter().enumerate() {
        let found = (0..10).find_map(|seed| {
            let copy_bytes = if *copy_bytes == LATENCY { "16384" } else { copy_bytes };
            let variables =
                [(COPY_BYTES, copy_bytes), ("PELTON_CUDA_SEED", &format!("{seed}") as &str)];
            let (passed, text) = outcome(TEST, &i.to_string(), &variables);
            let said = text.lines().find(|line| {
                ["another answer", "still uses", "goes beyond", "hangs", "woke", "CUDA_ERROR"]
                    .iter()
                    .any(|words| line.contains(words))
            });
            (!passed).then(|| format!("order {seed}: {}", said.unwrap_or("a crash").trim()))
        });
        println!("{what}\n  {}", found.as_deref().unwrap_or("NOT FOUND"));
        assert_eq!(found.is_none(), i == 0, "{what}");
    }
}
