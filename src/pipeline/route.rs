//! Results for tasks: each row goes to the task that serves its key, and no slow task holds up another.
//!
//! One pipeline serves many clients when their keys say whose they are. A [`Router`] takes the results off the
//! pipeline as they come, so the engine never waits for a client, and hands each client its rows through a
//! bounded channel. A client that lets its channel fill up is cut off: memory stays bounded, the others go on.

use super::outbox::Results;
use super::results::Row;
use crate::base::error::Result;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::Sender;

/// Sends rows, as values of your own type `T`, to the routes that are open. Clones share the routes.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use pelton::pipeline::route::Router;
/// use pelton::{Device, Key, Options, Pipeline, Windows, field};
/// # #[repr(C)]
/// # #[derive(Clone, Copy, pelton::Pod, pelton::Zeroable)]
/// # struct Hit { at: u64, of: u64 }
/// let hits = Windows { key: Key::hashed(field!(Hit.of)), ..Windows::tumbling(field!(Hit.at), 10) };
/// let (feeds, mut results) = Pipeline::start(hits, Options::on(Device::cpu()))?.split();
/// let (router, (sender, mut mine)) = (Router::default(), tokio::sync::mpsc::channel(8));
/// router.open(7, sender);
/// let mut lane = feeds.lane()?;
/// assert_eq!(lane.send_all(&[Hit { at: 1, of: 7 }, Hit { at: 2, of: 8 }]).await, 2);
/// drop((lane, feeds));
/// router.run(&mut results, |row| (row.key(), row.count())).await?;
/// assert_eq!(mine.recv().await, Some(vec![1]));
/// assert_eq!(mine.recv().await, None, "the results have ended");
/// # Ok::<(), pelton::Error>(())
/// # }).unwrap();
/// ```
pub struct Router<T> {
    routes: Arc<Mutex<HashMap<u64, Sender<Vec<T>>>>>,
}

impl<T> Router<T> {
    fn routes(&self) -> MutexGuard<'_, HashMap<u64, Sender<Vec<T>>>> {
        // Inserts and removals leave nothing half done.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a route, in place of one of the same number.
    pub fn open(&self, route: u64, sender: Sender<Vec<T>>) {
        self.routes().insert(route, sender);
    }

    /// Closes a route; its rows go nowhere from here on.
    pub fn close(&self, route: u64) {
        self.routes().remove(&route);
    }

    /// Whether a route is open: not closed, not cut off, not at the end.
    pub fn is_open(&self, route: u64) -> bool {
        self.routes().contains_key(&route)
    }

    /// Takes results until they end and sends each row where `to` says: a route, and what to send there. The rows of
    /// a result batch that go one way are sent together. Closes all routes at the end. Only windows have rows: of a
    /// [`Scores`](crate::Scores) query nothing is sent.
    ///
    /// # Errors
    /// What ended the pipeline, if it was not its end.
    pub async fn run<E: bytemuck::Pod>(
        &self,
        results: &mut Results<E>,
        mut to: impl FnMut(&Row<'_>) -> (u64, T),
    ) -> Result<()> {
        let mut parcels: HashMap<u64, Vec<T>> = HashMap::new();
        let ended = loop {
            let rows = match results.recv().await {
                Some(Ok(rows)) => rows,
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            };
            for row in rows.iter() {
                let (route, value) = to(&row);
                parcels.entry(route).or_default().push(value);
            }
            // The memory goes back to the engine before anything else happens.
            drop(rows);
            let mut routes = self.routes();
            for (route, parcel) in parcels.drain() {
                let refused = |sender: &Sender<_>| sender.try_send(parcel).is_err();
                if routes.get(&route).is_some_and(refused) {
                    routes.remove(&route);
                }
            }
        };
        self.routes().clear();
        ended
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { routes: Arc::default() }
    }
}

impl<T> Clone for Router<T> {
    fn clone(&self) -> Self {
        Self { routes: self.routes.clone() }
    }
}

impl<T> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Router({} routes)", self.routes().len())
    }
}
