//! recall-latest
