//! rerank-freshness
