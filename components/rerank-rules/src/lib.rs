//! rerank-rules
