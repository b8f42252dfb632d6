//! funnelweb-factor-key-value
