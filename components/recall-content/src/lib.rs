//! recall-content
