//! recall-hot
