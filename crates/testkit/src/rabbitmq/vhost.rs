use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::Management;
use crate::{Shared, cleanup};

/// A virtual host of one test, deleted with its queues and connections when this is dropped.
pub struct TestVhost {
    url: String,
    name: String,
    management: Management,
}

/// A new virtual host of the shared server.
pub async fn rabbitmq_vhost() -> Result<TestVhost> {
    TestVhost::make(&Shared::RabbitMq.url()?, &Shared::RabbitMqManagement.url()?).await
}

impl TestVhost {
    pub(super) async fn make(url: &str, management: &str) -> Result<Self> {
        let management = Management::new(management)?;
        let name = format!("t-{}", Uuid::new_v4().simple());
        let mut url = Url::parse(url).context("the URL of RabbitMQ")?;
        url.set_path(&name);
        let vhost = TestVhost { url: url.into(), name, management };
        vhost.put(&format!("vhosts/{}", vhost.name), &json!({})).await?;
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        vhost.put(&format!("permissions/{}/{}", vhost.name, vhost.management.user()), &all).await?;
        Ok(vhost)
    }

    async fn put(&self, path: &str, body: &Value) -> Result<()> {
        let answer = self.management.send(Method::PUT, path, Some(body)).await;
        answer.and_then(crate::Answer::success).with_context(|| format!("cannot make {path} of RabbitMQ"))?;
        Ok(())
    }

    /// Its AMQP URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Closes every connection to it, as an operator would; answers how many there were. The server lists a connection a
    /// moment after it was opened.
    pub async fn close_connections(&self) -> Result<usize> {
        let path = format!("vhosts/{}/connections", self.name);
        let connections = self.management.send(Method::GET, &path, None).await?.expect(200)?.body;
        let names = connections.as_array().context("a list of connections")?.iter();
        let mut closed = 0;
        for name in names.filter_map(|connection| connection["name"].as_str()) {
            let mut path = Url::parse("x:/")?;
            path.path_segments_mut().ok().context("a path")?.push(name);
            let path = format!("connections{}", path.path());
            let answer = self.management.send(Method::DELETE, &path, None).await?;
            // 404: it ended by itself.
            closed += usize::from(answer.status.is_success());
        }
        Ok(closed)
    }

    /// The queue of that name as the management API tells it; `None` when there is none.
    pub async fn queue(&self, name: &str) -> Result<Option<Value>> {
        let answer = self.management.send(Method::GET, &format!("queues/{}/{name}", self.name), None).await?;
        if answer.status.as_u16() == 404 {
            return Ok(None);
        }
        Ok(Some(answer.expect(200)?.body))
    }

    /// Makes a durable quorum queue.
    pub async fn declare_queue(&self, name: &str) -> Result<()> {
        let queue = json!({"durable": true, "arguments": {"x-queue-type": "quorum"}});
        self.put(&format!("queues/{}/{name}", self.name), &queue).await
    }

    /// Deletes a queue, as an operator would.
    pub async fn delete_queue(&self, name: &str) -> Result<()> {
        let path = format!("queues/{}/{name}", self.name);
        self.management.send(Method::DELETE, &path, None).await?.success()?;
        Ok(())
    }
}

impl Drop for TestVhost {
    fn drop(&mut self) {
        cleanup::run("delete a test's virtual host", async {
            // The connections of the test's own client belong to the runtime that waits for this.
            let management = self.management.anew()?;
            let answer = management.send(Method::DELETE, &format!("vhosts/{}", self.name), None).await?;
            // A test may have deleted it itself.
            if answer.status.as_u16() != 404 {
                answer.success()?;
            }
            Ok(())
        });
    }
}
