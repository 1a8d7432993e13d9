use anyhow::Result;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sker_bus::{Bus, topology};

use crate::world::{World, analysis, broker, completion};

#[tokio::test]
async fn a_task_tells_everything_that_becomes_of_it_in_order_on_all_its_channels() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let me = user.get("/api/v1/auth/me").await?.expect(200)?.string("id")?;
    let project = user.create_project("p").await?;
    let node = user.create_node(&project, "t", "c").await?;
    let task = user.analyse(&project, &node).await?;
    let lease = world.lease("s", &task).await?;
    world.store.complete_task(&broker(), completion(&lease, &analysis())).await?;
    let expected = ["ai_task.created", "ai_task.queued", "ai_task.started", "ai_task.completed"];
    for channel in [format!("task:{task}"), format!("user:{me}"), format!("project:{project}")] {
        let kinds = world.kinds(&channel, "ai_task.completed").await?;
        let kinds: Vec<&String> = kinds.iter().filter(|kind| kind.starts_with("ai_task.")).collect();
        assert_eq!(kinds, expected, "{channel}");
    }
    let events = world.events(&format!("task:{task}"), "ai_task.completed").await?;
    let done = &events.last().unwrap().data;
    assert_eq!((&done["id"], &done["node_id"], &done["output_data"]), (&json!(task), &json!(node), &analysis()));
    assert_eq!((&done["epoch"], &done["status"]), (&json!(1), &json!("completed")));
    Ok(())
}

#[tokio::test]
async fn changes_of_a_canvas_show_in_its_projects_channel_in_order() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let a = user.create_node(&project, "a", &"x".repeat(100_000)).await?;
    let b = user.create_node(&project, "b", "").await?;
    let body = json!({"source_node_id": a, "target_node_id": b});
    user.post("/api/v1/connections", &body).await?.expect(201)?;
    user.patch(&format!("/api/v1/nodes/{a}"), &json!({"title": "A"}), None).await?.expect(200)?;
    user.delete(&format!("/api/v1/nodes/{b}")).await?.expect(204)?;
    user.delete(&format!("/api/v1/projects/{project}")).await?.expect(204)?;
    let events = world.events(&format!("project:{project}"), "project.deleted").await?;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "project.created",
            "node.created",
            "node.created",
            "connection.created",
            "node.updated",
            "connection.deleted",
            "node.deleted",
            "project.deleted"
        ]
    );
    let updated = &events[4].data;
    assert_eq!((&updated["id"], &updated["title"], &updated["version"]), (&json!(a), &json!("A"), &json!(2)));
    assert!(events.iter().all(|event| event.data.to_string().len() < 5_000), "events are small");
    let places: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert!(places.is_sorted());
    Ok(())
}

#[tokio::test]
async fn what_fails_tells_nobody() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let path = format!("/api/v1/projects/{project}");
    user.patch(&path, &json!({"name": "x"}), Some("\"9\"")).await?.expect(412)?;
    user.post(&format!("{path}/nodes:batch"), &json!({"create": [{}], "delete": [sker_types::new_id()]}))
        .await?
        .expect(404)?;
    user.delete(&path).await?.expect(204)?;
    let kinds = world.kinds(&format!("project:{project}"), "project.deleted").await?;
    assert_eq!(kinds, ["project.created", "project.deleted"]);
    Ok(())
}

#[tokio::test]
async fn wake_ups_go_to_the_queue_of_their_type_and_priority() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    for (kind, priority, queue) in [
        ("semantic_analysis", "normal", topology::PROCESS_QUEUE),
        ("semantic_analysis", "urgent", topology::PROCESS_QUEUE_URGENT),
        ("batch_processing", "urgent", topology::BATCH_PROCESS_QUEUE),
    ] {
        let body = json!({"type": kind, "priority": priority, "input_data": {"inputs": ["x"]}});
        let path = format!("/api/v1/projects/{project}/ai-tasks");
        let id = user.post(&path, &body).await?.expect(201)?.string("id")?;
        let mut consumer = world.bus.consume(queue, 1).await?;
        let delivery = tokio::time::timeout(sker_testkit::PATIENCE, consumer.next()).await?.unwrap();
        let wake: Value = serde_json::from_slice(&delivery.message.body)?;
        assert_eq!(wake, json!({"task_id": id, "type": kind, "priority": priority}));
        delivery.ack().await?;
    }
    Ok(())
}
