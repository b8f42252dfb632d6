//! funnelweb-factor-documents
