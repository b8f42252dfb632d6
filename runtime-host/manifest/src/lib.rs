//! funnelweb-manifest
