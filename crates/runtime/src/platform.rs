use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use serde_json::{Map, Value, json};
use sker_api::PLATFORM_GROUP;
use sker_proto::registry::Instance;

/// A service of the platform as it registers itself: in the platform's group, alive by heartbeats, with its version and the
/// gateway's routes to it in its metadata (CONTRACT.md, "Routes"; empty for none).
pub fn platform_instance(service: &str, host: &str, port: u16, version: &str, routes: &[Value]) -> Instance {
    let mut metadata = Map::from_iter([("version".to_owned(), json!(version))]);
    if !routes.is_empty() {
        metadata.insert("routes".to_owned(), json!(routes));
    }
    Instance {
        tenant_id: "default".to_owned(),
        group_name: PLATFORM_GROUP.to_owned(),
        service_name: service.to_owned(),
        host_address: host.to_owned(),
        port_number: port.into(),
        instance_status: "UP".to_owned(),
        health_status: "HEALTHY".to_owned(),
        weight_value: 100,
        client_type: "service".to_owned(),
        metadata_json: Value::Object(metadata).to_string(),
        ephemeral: Some(true),
        heartbeat_interval_seconds: 5,
        heartbeat_timeout_seconds: 15,
        evict_after_seconds: 30,
        ..Instance::default()
    }
}

/// The address that others reach a listener at: the one it listens on, or for `0.0.0.0` and `::` the one of this host that
/// leads outside.
pub fn advertised_host(listener: SocketAddr) -> String {
    let address = listener.ip();
    if address.is_unspecified() { outward_address().to_string() } else { address.to_string() }
}

fn outward_address() -> IpAddr {
    // Connecting a UDP socket sends nothing; it only picks the address a packet would leave from (192.0.2.0/24 is for
    // documentation, RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let address = socket.and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
