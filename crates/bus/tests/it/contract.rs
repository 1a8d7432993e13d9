use std::sync::Mutex;

use sker_bus::contract;

use crate::support;

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let vhosts = Mutex::new(Vec::new());
    contract::run(|| async {
        let (vhost, bus) = support::bus().await.unwrap();
        vhosts.lock().unwrap().push(vhost);
        bus
    })
    .await;
}
