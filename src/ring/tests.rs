//! Unit and randomised tests of the lanes.
