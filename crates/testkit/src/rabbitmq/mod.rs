//! RabbitMQ: a virtual host of the shared server for each test, or a server of one's own.

mod management;
mod server;
mod vhost;

use management::Management;
pub use server::RabbitServer;
pub use vhost::{TestVhost, rabbitmq_vhost};
