//! funnelweb-import
