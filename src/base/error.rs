//! What can go wrong, sorted by what the caller can do about it.
//!
//! Back-pressure is not an error (a full lane hands the event back), late events are not errors (they
//! come back through the side output), and programmer errors assert.

use std::fmt;

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Four kinds of failure, one for each thing a caller can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be met as written: fix the option that the message names.
    Invalid(String),
    /// This device cannot do it: pick another, or follow the message (driver, memory, feature).
    Unsupported {
        /// The device as `Device::named` knows it.
        device: String,
        /// What is missing and how to get it.
        what: String,
    },
    /// The device is gone and its state with it: rebuild the pipeline and replay the source.
    DeviceLost {
        /// The device as `Device::named` knows it.
        device: String,
        /// What the driver said.
        what: String,
    },
    /// A file, socket or broker failed: retry, or fix the input at the place the message names.
    Source {
        /// The file, address or topic, with line and column where there are some.
        at: String,
        /// What is wrong there, and the fix.
        what: String,
    },
}

impl Error {
    /// An [`Error::Invalid`] from anything that prints.
    pub fn invalid(what: impl fmt::Display) -> Self {
        Self::Invalid(what.to_string())
    }

    /// An [`Error::Invalid`] about an option whose value is not among those accepted.
    pub fn out_of_range(
        name: impl fmt::Display,
        value: impl fmt::Display,
        accepted: impl fmt::Display,
    ) -> Self {
        Self::Invalid(format!("{name}: {value}; accepted are {accepted}"))
    }

    /// An [`Error::Unsupported`] from anything that prints.
    pub fn unsupported(device: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Unsupported { device: device.to_string(), what: what.to_string() }
    }

    /// An [`Error::DeviceLost`] from anything that prints.
    pub fn lost(device: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::DeviceLost { device: device.to_string(), what: what.to_string() }
    }

    /// An [`Error::Source`] from anything that prints.
    pub fn source(at: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Source { at: at.to_string(), what: what.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => write!(f, "invalid: {what}"),
            Self::Unsupported { device, what } => write!(f, "{device}: {what}"),
            Self::DeviceLost { device, what } => write!(f, "{device} was lost: {what}"),
            Self::Source { at, what } => write!(f, "{at}: {what}"),
        }
    }
}

impl std::error::Error for Error {}
