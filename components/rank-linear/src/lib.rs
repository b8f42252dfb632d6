//! rank-linear
