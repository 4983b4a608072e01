//! Uploads that cannot be handled for longer than their queue delivers them (`docs/semantics.md#revisions`).

use control::rows::UnhandledUpload;
use control::table::Query;

use crate::world::{HOSTS, Plot, Streaming, World};

impl World {
    /// Lets so much time pass.
    async fn pass_ms(&mut self, ms: u64) {
        let until = self.now() + ms;
        while self.now() < until {
            self.happen().await;
        }
    }

    /// How many uploads are noted that are not handled.
    async fn unhandled(&self) -> usize {
        let query = Query::prefix(UnhandledUpload::ALL, "", 10);
        self.api.base.table.query(&query).await.unwrap().items.len()
    }
}

#[tokio::test]
async fn an_upload_that_its_queue_has_given_up_is_deployed_once_it_can_be_handled() {
    let mut world = World::new(Plot::Failing, None, Streaming::AsWritten).await;
    world.services.state().away = Some("s3");
    world.upload("shop/v1.zip", "good");
    Box::pin(world.pass_ms(3_600_000)).await;
    assert_eq!(world.dead_letters(), 1, "the queue has given its own message up");
    assert_eq!(world.statuses().await, [""; 0]);
    assert_eq!(world.unhandled().await, 1);
    let tried = world.calls().iter().filter(|call| *call == "s3:GetObject").count();
    assert!((8..20).contains(&tried), "tried {tried} times: less and less often");

    world.services.state().away = None;
    let healed = world.now();
    Box::pin(world.run(1)).await;
    assert!(world.now() - healed < 20 * 60_000, "{}", world.log());
    assert_eq!(world.statuses().await, ["Succeeded"]);
    assert_eq!(world.installed(), ["v1"; HOSTS.len()]);
    assert_eq!((world.unhandled().await, world.dead_letters()), (0, 1));
    Box::pin(world.pass_ms(3_600_000)).await;
    assert_eq!(world.statuses().await, ["Succeeded"], "once");
}

#[tokio::test]
async fn an_upload_whose_function_died_is_handled_when_it_is_delivered_again() {
    // The process dies wherever it may be in its work: each call of the intake is the last that is answered.
    for calls in 0.. {
        let mut world = World::new(Plot::Failing, None, Streaming::Dropped).await;
        world.upload("shop/v1.zip", "good");
        world.services.state().dies_after = Some(calls);
        Box::pin(world.happen()).await;
        let has_died = world.services.state().dies_after.take() == Some(0);
        Box::pin(world.run(1)).await;
        assert_eq!(world.statuses().await, ["Succeeded"], "after {calls} calls:\n{}", world.log());
        assert_eq!((world.unhandled().await, world.dead_letters()), (0, 0), "{}", world.log());
        if !has_died {
            assert!(calls > 5, "only {calls} calls");
            return;
        }
    }
}
