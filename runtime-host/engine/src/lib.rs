//! funnelweb-engine
