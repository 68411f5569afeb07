//! Calls with a token that was made a moment ago.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use join_crds::vocabulary::Reason;

/// How long a new token that is not accepted is shown again, before that is told or ends the join.
pub(super) const DOUBT: Duration = Duration::from_secs(5);

/// Makes a call again while the API server does not know the token. Each API server hears of a token by a watch of its own,
/// and answers 401 until then: with hundreds of joins at once the credential is at the machine before.
pub(super) async fn once_known<T, E, F: Future<Output = Result<T, E>>>(
    call: impl FnMut() -> F,
    reason: impl Fn(&E) -> Reason,
) -> Result<T, E> {
    let often = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times()
        .with_total_delay(Some(DOUBT))
        .with_jitter();
    call.retry(often).when(|error| reason(error) == Reason::CredentialsRefused).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rstest::rstest;
    use tokio::time::Instant;

    use super::*;

    #[rstest]
    #[case::known(0, true)]
    #[case::known_late(4, true)]
    #[case::never_known(usize::MAX, false)]
    #[tokio::test(start_paused = true)]
    async fn a_new_token_is_shown_again_for_a_while(#[case] refusals: usize, #[case] accepted: bool) {
        let (calls, began) = (Cell::new(0), Instant::now());
        let call = || {
            let so_far = calls.replace(calls.get() + 1);
            async move { if so_far < refusals { Err(Reason::CredentialsRefused) } else { Ok(()) } }
        };
        assert_eq!(once_known(call, |reason| *reason).await.is_ok(), accepted);
        assert!(began.elapsed() <= DOUBT, "{:?}", began.elapsed());
        assert_eq!(calls.get() > 5, !accepted, "{} calls", calls.get());
    }

    #[tokio::test]
    async fn what_else_goes_wrong_is_not_tried_again() {
        let calls = Cell::new(0);
        let call = || {
            calls.set(calls.get() + 1);
            std::future::ready(Err::<(), _>(Reason::AccessDenied))
        };
        assert_eq!(once_known(call, |reason| *reason).await, Err(Reason::AccessDenied));
        assert_eq!(calls.get(), 1);
    }
}
