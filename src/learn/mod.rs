//! Floor 5: what learns from results, on the host. So far two detectors of drift, for numbers that should stay as they
//! are: an error rate, a mean, the scores of a model.
//!
//! | you want | look at |
//! |---|---|
//! | few parameters, rare false alarms, the mean since the last change | [`Adwin`] |
//! | 64 bytes and a few operations a number, a threshold that you set | [`PageHinkley`] |

mod adwin;
mod page_hinkley;

pub use adwin::{Adwin, AdwinOptions};
pub use page_hinkley::{PageHinkley, PageHinkleyOptions};

/// Largest magnitude that is learnt: its square times the longest window is still finite.
const VALUE_MAX: f64 = 1e100;

/// Whether a number is one to learn: neither NaN nor beyond [`VALUE_MAX`].
fn learnable(x: f64) -> bool {
    x.abs() <= VALUE_MAX
}
