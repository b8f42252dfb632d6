//! An upload: the component as the body, its manifest inside. Its bytes are handed on as
//! they come.

use funnelweb_core::{error::ApiError, limits};
use funnelweb_guest::{
    components::Upload,
    http::{Body, Head, Media, Reply},
};

use crate::{answer, answer::refused};

/// The largest body. How large a component may be is the operator's to say, up to this.
const BODY_BYTES: u64 = limits::COMPONENT_BYTES_MOST as u64;

/// Takes an upload.
pub(crate) async fn add(head: &Head, mut body: Body) -> Result<Reply, ApiError> {
    head.media(&[Media::Wasm, Media::Octets])?;
    // One that is too large, by what it says of itself, takes no upload's place.
    let mut next = body.chunk(BODY_BYTES).await?;
    let upload = Upload::new();
    while let Some(chunk) = next {
        upload.write(&chunk).map_err(refused)?;
        next = body.chunk(BODY_BYTES).await?;
    }
    answer::added(upload.finish().map_err(refused)?)
}
