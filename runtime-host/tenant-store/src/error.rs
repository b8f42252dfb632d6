//! The one error of the stores: the three kinds of the WIT's `errors.error`.

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The call is wrong; the text names the argument and the limit.
    #[error("{0}")]
    Invalid(String),
    /// The store did not answer in time or at all; worth trying again.
    #[error("{0}")]
    Unavailable(String),
    /// The caller may not do this.
    #[error("{0}")]
    Denied(String),
}

impl Error {
    /// [`Error::Invalid`] about the argument `name`.
    pub fn invalid(name: impl std::fmt::Display, rule: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("{name}: {rule}"))
    }

    /// [`Error::Invalid`] unless `count` is within `least..=most`.
    ///
    /// # Errors
    /// Names the argument, the limits and the count.
    pub fn check_count(name: &str, count: usize, least: usize, most: usize) -> Result<(), Self> {
        if (least..=most).contains(&count) {
            return Ok(());
        }
        Err(Self::invalid(name, format_args!("must be {least} to {most} long, got {count}")))
    }

    /// [`Error::Invalid`] unless `id` obeys [`funnelweb_core::id::check`].
    ///
    /// # Errors
    /// Names the argument and the rule it breaks.
    pub fn check_id(name: impl std::fmt::Display, id: &str) -> Result<(), Self> {
        funnelweb_core::id::check(id).map_err(|rule| Self::invalid(name, rule))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(format!("sqlite: {error}"))
    }
}
