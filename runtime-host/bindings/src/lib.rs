//! funnelweb-bindings
