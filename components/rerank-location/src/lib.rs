//! rerank-location
