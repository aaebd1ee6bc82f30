//! Wraps a device and makes its calls fail in turn.
