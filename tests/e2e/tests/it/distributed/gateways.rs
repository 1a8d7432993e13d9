//! A gateway that is killed; its clients go to another.

use std::{collections::HashSet, time::Instant};

use anyhow::Result;
use serde_json::Value;
use sker_testkit::{Outside, Plan};

use super::canvas::{Canvas, is_creation_of, submit};

#[tokio::test]
async fn sockets_of_a_gateway_that_is_killed_resume_at_the_other_without_a_gap() -> Result<()> {
    const ROUNDS: usize = 3;
    let mut canvas = Canvas::new(Outside::shared(), Plan::default().gateways(2)).await?;
    let (mut made, mut accepted) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // The follower is at one of them, and does not know when that goes.
        let (goes, stays) = (round % 2, (round + 1) % 2);
        let writer = canvas.at(stays)?;
        for number in 0..8 {
            made.push(writer.create_node(&canvas.project, &format!("{round}.{number}"), "while both are there").await?);
        }
        accepted.push(submit(&writer, &canvas.project, &serde_json::json!({"type": "semantic_analysis"})).await?);
        canvas.platform.gateways[goes].kill().await?;
        let killed = Instant::now();
        for number in 8..16 {
            made.push(writer.create_node(&canvas.project, &format!("{round}.{number}"), "while one is gone").await?);
        }
        let last = made[made.len() - 1].clone();
        canvas.follower.until("the last event", |frame| is_creation_of(frame, &last)).await?;
        eprintln!("recovery: gateway killed: all events known {} ms later", killed.elapsed().as_millis());
        canvas.platform.gateways[goes].restart().await?;
    }
    canvas.user = canvas.at(0)?;
    canvas.verify(&accepted).await?;

    let frames = canvas.follower.frames()?;
    let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "in order, none repeated: {seqs:?}");
    let ids: HashSet<&str> = frames.iter().filter_map(|frame| frame["id"].as_str()).collect();
    assert_eq!(ids.len(), seqs.len(), "each event has one number");
    let created = |frame: &&Value| frame["type"] == "node.created";
    let heard: Vec<&str> = frames.iter().filter(created).filter_map(|frame| frame["data"]["id"].as_str()).collect();
    let heard: Vec<&str> = heard.into_iter().filter(|id| made.iter().any(|node| node == id)).collect();
    assert_eq!(heard, made, "every node once, in order");
    assert!(frames.iter().all(|frame| frame["type"] != "reset"), "nothing was lost on the way");
    Ok(())
}
