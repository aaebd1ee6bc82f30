//! Floor 1: events in place. Knows no device.
