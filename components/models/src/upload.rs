//! An upload: the ONNX file as the body, or as the part `model` of a form whose part
//! `manifest` is its manifest. Its bytes are handed on as they come.

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{
    http::{Body, Head, Media, Reply},
    models::Upload,
};
use futures::stream;
use http::{StatusCode, header};
use multer::Multipart;

use crate::{answer, answer::refused, required};

/// The largest body: both files, and what parts them in a form.
const BODY_BYTES: u64 = (limits::MODEL_BYTES + limits::MODEL_MANIFEST_BYTES + 64 * 1024) as u64;

/// Takes an upload.
pub(crate) async fn add(head: &Head, body: Body) -> Result<Reply, ApiError> {
    let query = head.query(&["scenario_id"])?;
    let upload = Upload::new(&required(query.id("scenario_id")?)?);
    match head.media(&[Media::Octets, Media::Form])? {
        Media::Form => form(head, body, &upload).await?,
        _ => raw(body, &upload).await?,
    }
    let version = upload.finish().map_err(refused)?;
    let location =
        format!("/api/v1/models/{}/versions/{}?scenario_id={}", version.name, version.version, version.scenario_id);
    Ok(answer::version(StatusCode::CREATED, &version).header(header::LOCATION, &location))
}

async fn raw(mut body: Body, upload: &Upload) -> Result<(), ApiError> {
    while let Some(chunk) = body.chunk(BODY_BYTES).await? {
        upload.write(&chunk).map_err(refused)?;
    }
    Ok(())
}

async fn form(head: &Head, body: Body, upload: &Upload) -> Result<(), ApiError> {
    let boundary = multer::parse_boundary(head.header("content-type").unwrap_or_default())
        .map_err(|error| ApiError::field(Code::InvalidHeader, "Content-Type", error.to_string()))?;
    let chunks = stream::try_unfold(body, |mut body| async {
        let chunk = body.chunk(BODY_BYTES).await?;
        Ok::<_, ApiError>(chunk.map(|chunk| (chunk, body)))
    });
    parts(Multipart::new(chunks, boundary), upload).await
}

async fn parts(mut form: Multipart<'_>, upload: &Upload) -> Result<(), ApiError> {
    let mut seen = Vec::new();
    while let Some(mut part) = form.next_field().await.map_err(unreadable)? {
        let name = part.name().unwrap_or_default().to_owned();
        if seen.contains(&name) {
            return Err(ApiError::field(Code::InvalidField, name, "stands in the form twice"));
        }
        match name.as_str() {
            "model" => {
                while let Some(chunk) = part.chunk().await.map_err(unreadable)? {
                    upload.write(&chunk).map_err(refused)?;
                }
            }
            "manifest" => {
                let mut text = Vec::new();
                while let Some(chunk) = part.chunk().await.map_err(unreadable)? {
                    text.extend_from_slice(&chunk);
                    if text.len() > limits::MODEL_MANIFEST_BYTES {
                        let message = format!("must be at most {} bytes", limits::MODEL_MANIFEST_BYTES);
                        return Err(ApiError::field(Code::InvalidModel, "manifest", message));
                    }
                }
                let text = String::from_utf8(text)
                    .map_err(|_| ApiError::field(Code::InvalidModel, "manifest", "must be UTF-8"))?;
                upload.manifest(&text).map_err(refused)?;
            }
            other => {
                let message = "is no part of this form; the parts are model and manifest";
                return Err(ApiError::field(Code::InvalidField, other, message));
            }
        }
        seen.push(name);
    }
    if seen.iter().any(|name| name == "model") {
        Ok(())
    } else {
        Err(ApiError::field(Code::InvalidField, "model", "the part is not there"))
    }
}

/// A fault of the body itself comes through the parser of the form.
fn unreadable(error: multer::Error) -> ApiError {
    match error {
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<ApiError>() {
            Ok(error) => *error,
            Err(other) => ApiError::field(Code::InvalidField, "body", other.to_string()),
        },
        other => ApiError::field(Code::InvalidField, "body", other.to_string()),
    }
}
