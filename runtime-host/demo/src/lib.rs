//! funnelweb-demo
