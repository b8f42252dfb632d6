//! funnelweb-tests
