//! The gRPC clients against servers of their own that are slow, are killed, or stand behind a bad network.

mod calls;
mod network;
mod server;
