//! Everything that a store holds of a tenant, piece by piece.

use std::future::ready;

use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{BoxStream, try_unfold},
};

use crate::Error;

/// Pages of what a store holds, none of them empty. What is there from the start
/// and stays comes once, whoever writes meanwhile; what is written meanwhile comes
/// or does not.
pub type Walk<'a, T> = BoxStream<'a, Result<Vec<T>, Error>>;

/// A walk by a cursor: `next` gives the page at one, and the cursor of the page
/// behind it; none after the last page.
pub fn pages<'a, C, T, F>(first: C, mut next: impl FnMut(C) -> F + Send + 'a) -> Walk<'a, T>
where
    C: Send + 'a,
    T: Send + 'a,
    F: Future<Output = Result<(Vec<T>, Option<C>), Error>> + Send + 'a,
{
    let step = move |cursor: Option<C>| {
        let page = cursor.map(&mut next);
        async move {
            match page {
                Some(page) => page.await.map(Some),
                None => Ok(None),
            }
        }
    };
    try_unfold(Some(first), step).try_filter(|page: &Vec<T>| ready(!page.is_empty())).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_follow_their_cursors_and_none_is_empty() {
        let page = async |from: u32| {
            let page = if from == 2 { vec![] } else { vec![from, from + 1] };
            Ok((page, (from < 4).then_some(from + 2)))
        };
        let all: Vec<Vec<u32>> = pages(0, page).try_collect().await.unwrap();
        assert_eq!(all, [[0, 1], [4, 5]]);
        let failed: Result<Vec<Vec<u32>>, Error> =
            pages(0, async |_: u32| Err(Error::Unavailable("down".to_owned()))).try_collect().await;
        assert_eq!(failed, Err(Error::Unavailable("down".to_owned())));
    }
}
