//! `--health`, `--check-config` and the exit statuses need a whole program; those of the services are tested in
//! `tests/e2e`. Here: binding, which comes after the configuration.

use sker_runtime::{Listeners, advertised_host, bind};

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let listeners = Listeners::free(true).unwrap();
    let taken = listeners.http_address().unwrap();
    let error = format!("{:#}", bind("127.0.0.1", taken.port()).unwrap_err());
    assert!(error.contains(&taken.to_string()), "{error}");
    assert_ne!(taken.port(), listeners.grpc_address().unwrap().unwrap().port());
}

#[test]
fn the_address_to_register_is_one_that_others_can_reach() {
    assert_eq!(advertised_host("127.0.0.1:3001".parse().unwrap()), "127.0.0.1");
    assert_ne!(advertised_host("0.0.0.0:3001".parse().unwrap()), "0.0.0.0");
}
