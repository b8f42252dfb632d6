//! funnelweb-trigger-http
