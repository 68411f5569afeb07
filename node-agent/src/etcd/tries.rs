//! Tries until a deadline.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::info;

use super::error::Error;

/// The pauses between tries: from the first to the longest. kubeadm tries every 500 ms.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What came of one try.
pub enum Try<T> {
    /// It is done.
    Done(T),
    /// Something was changed: look again at once.
    Again,
}

/// Tries of one thing.
pub struct Tries {
    deadline: Instant,
    doing: &'static str,
    pauses: ExponentialBackoff,
    last: Option<Error>,
}

impl Tries {
    /// `doing` completes the sentence "waiting for …".
    pub fn until(deadline: Instant, doing: &'static str) -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(PAUSES.0)
            .with_max_delay(PAUSES.1)
            .with_jitter()
            .without_max_times();
        Self { deadline, doing, pauses: pauses.build(), last: None }
    }

    /// Makes one try; `None` means to make another one. After what may pass there is a pause.
    pub async fn once<T>(&mut self, one: impl Future<Output = Result<Try<T>, Error>>) -> Result<Option<T>, Error> {
        let over = |last: &mut Option<Error>| Error::Deadline { doing: self.doing, last: last.take().map(Box::new) };
        // A timeout lets through what is ready at once, however late it is.
        if Instant::now() >= self.deadline {
            return Err(over(&mut self.last));
        }
        match timeout_at(self.deadline, one).await {
            Ok(Ok(Try::Done(done))) => Ok(Some(done)),
            Ok(Ok(Try::Again)) => Ok(None),
            Ok(Err(error)) if error.is_retriable() => {
                let seen = error.to_string();
                if self.last.as_ref().is_none_or(|last| last.to_string() != seen) {
                    info!("waiting for {}: {seen}", self.doing);
                }
                self.last = Some(error);
                let pause = self.pauses.next().unwrap_or(PAUSES.1);
                sleep_until(self.deadline.min(Instant::now() + pause)).await;
                Ok(None)
            }
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(over(&mut self.last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_started() -> Error {
        Error::NotStarted { peer_url: "p".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_until_the_deadline() {
        let began = Instant::now();
        let limit = Duration::from_mins(1);
        let mut tries = Tries::until(began + limit, "it");
        let mut count = 0;
        let error = loop {
            count += 1;
            match tries.once(async { Err::<Try<()>, _>(not_started()) }).await {
                Ok(outcome) => assert!(outcome.is_none()),
                Err(error) => break error,
            }
        };
        assert_eq!(began.elapsed(), limit);
        // With the jitter of each, the pauses are 0.1 to 0.2 s at first, and 2 to 4 s in the end.
        assert!((15..60).contains(&count), "{count}");
        let Error::Deadline { doing: "it", last: Some(last) } = error else { panic!("{error:?}") };
        assert!(matches!(*last, Error::NotStarted { .. }), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut_off_and_what_cannot_pass_is_told_at_once() {
        let began = Instant::now();
        let mut tries = Tries::until(began + Duration::from_secs(1), "it");
        let gone = tries.once(async { Err::<Try<()>, _>(Error::NotAMember("p".to_owned())) }).await;
        assert!(matches!(gone, Err(Error::NotAMember(_))));
        assert!(matches!(tries.once(async { Ok(Try::<()>::Again) }).await, Ok(None)));
        assert!(matches!(tries.once(async { Ok(Try::Done(7)) }).await, Ok(Some(7))));
        assert_eq!(began.elapsed(), Duration::ZERO);
        let silent = tries.once(std::future::pending::<Result<Try<()>, Error>>()).await;
        assert!(matches!(silent, Err(Error::Deadline { last: None, .. })));
    }
}
