//! What the gateway decides, without any I/O: paths, routes, headers, who a client is, frames of the realtime protocol.

pub mod catalogue;
pub mod cors;
pub mod cursor;
pub mod forwarding;
pub mod frame;
pub mod headers;
pub mod instance;
pub mod openapi;
pub mod path;
pub mod request;
pub mod route;
pub mod table;
