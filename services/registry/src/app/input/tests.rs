use serde_json::json;

use super::*;

fn read(body: Value) -> Result<Understood<Registration>> {
    registration("default", body, &LeaseDefaults::default())
}

#[test]
fn the_seeds_example_is_understood() {
    let seed = json!({
        "serviceName": "user-service", "groupName": "business", "hostAddress": "192.168.1.100", "portNumber": 8080,
        "contextPath": "/api/v1", "instanceStatus": "UP", "healthStatus": "HEALTHY", "weightValue": 100,
        "clientType": "SERVICE", "metadataJson": "{\"version\":\"1.0.0\",\"protocol\":\"http\"}",
        "tagsJson": "[\"production\",\"stable\"]"
    });
    let understood = read(seed).unwrap();
    assert!(understood.ignored.is_empty());
    let Registration { key, spec, health, .. } = understood.value;
    assert_eq!(key.to_string(), "default/business/user-service");
    assert_eq!(spec.metadata["version"], "1.0.0");
    assert_eq!(spec.tags, ["production", "stable"]);
    assert_eq!((spec.ephemeral, health), (true, Health::Healthy));
    assert_eq!(
        (spec.heartbeat_interval_seconds, spec.heartbeat_timeout_seconds, spec.evict_after_seconds),
        (5, 15, 30)
    );
}

#[test]
fn unknown_fields_are_named_and_invalid_ones_refused_all_at_once() {
    let understood = read(json!({"serviceName": "a", "hostAddress": "h", "portNumber": 1, "zone": "x"})).unwrap();
    assert_eq!(understood.ignored, ["zone"]);
    let error = read(json!({
        "serviceName": " ", "hostAddress": "a b", "portNumber": 0, "weightValue": 0, "instanceStatus": "SLEEPY",
        "metadataJson": "[]", "tagsJson": "{}", "ephemeral": "yes", "evictAfterSeconds": 1, "zone": "x"
    }))
    .unwrap_err();
    let named: Vec<&str> = error.fields().iter().map(|fault| fault.field.as_str()).collect();
    for field in [
        "serviceName",
        "hostAddress",
        "portNumber",
        "weightValue",
        "instanceStatus",
        "metadataJson",
        "tagsJson",
        "ephemeral",
        "evictAfterSeconds",
    ] {
        assert!(named.contains(&field), "{field} is missing in {named:?}");
    }
    assert!(!named.contains(&"zone"));
}

#[test]
fn a_nul_character_is_refused_wherever_it_hides() {
    for (field, value) in [
        ("serviceName", json!("a\0")),
        ("groupName", json!("a\0")),
        ("hostAddress", json!("a\0")),
        ("contextPath", json!("/\0")),
        ("instanceStatus", json!("UP\0")),
        ("clientType", json!("a\0")),
        ("metadata", json!({"key\0": 1})),
        ("metadata", json!({"a": [{"b": "c\0"}]})),
        ("metadataJson", json!(r#"{"a": {"b": "c\u0000"}}"#)),
        ("tags", json!(["blue", "gre\0en"])),
        ("tagsJson", json!(r#"["gre\u0000en"]"#)),
    ] {
        let mut body = json!({"serviceName": "a", "hostAddress": "h", "portNumber": 1});
        body[field] = value.clone();
        let error = read(body).expect_err(field);
        assert_eq!(error.code(), sker_error::Code::ValidationFailed);
        assert!(error.fields()[0].field.starts_with(field), "{field}: {value}: {:?}", error.fields());
    }
}

#[test]
fn a_name_with_spaces_around_it_is_refused() {
    for field in ["serviceName", "groupName"] {
        let mut body = json!({"serviceName": "a", "hostAddress": "h", "portNumber": 1});
        body[field] = json!("a b");
        read(body.clone()).expect("one within is fine");
        body[field] = json!("a ");
        assert_eq!(read(body).expect_err(field).fields()[0].field, field);
    }
}

#[test]
fn metadata_that_no_database_could_nest_is_refused() {
    let nested = |levels: usize| {
        let value = (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
        read(json!({"serviceName": "a", "hostAddress": "h", "portNumber": 1, "metadata": value}))
    };
    nested(MAX_DEPTH).expect("deep enough");
    assert_eq!(nested(MAX_DEPTH + 1).expect_err("too deep").fields()[0].field, "metadata");
}

#[test]
fn both_forms_may_be_given_when_they_agree() {
    let with = |metadata: Value, text: &str| {
        read(
            json!({"serviceName": "a", "hostAddress": "h", "portNumber": 1, "metadata": metadata, "metadataJson": text}),
        )
    };
    assert!(with(json!({"a": 1}), "{\"a\": 1}").is_ok());
    assert_eq!(with(json!({"a": 1}), "{\"a\": 2}").unwrap_err().fields()[0].field, "metadataJson");
}

#[test]
fn lease_times_that_are_left_out_fit_those_that_are_given() {
    let lease = |body: Value| {
        let mut whole = json!({"serviceName": "a", "hostAddress": "h", "portNumber": 1});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let spec = read(whole).unwrap().value.spec;
        (spec.heartbeat_interval_seconds, spec.heartbeat_timeout_seconds, spec.evict_after_seconds)
    };
    assert_eq!(lease(json!({"heartbeatIntervalSeconds": 60})), (60, 180, 360));
    assert_eq!(lease(json!({"heartbeatTimeoutSeconds": 1, "evictAfterSeconds": 1})), (1, 1, 1));
    assert_eq!(lease(json!({"heartbeatTimeoutSeconds": 20})), (5, 20, 40));
}
