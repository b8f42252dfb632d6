//! rerank-diversity
