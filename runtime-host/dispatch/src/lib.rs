//! funnelweb-dispatch
