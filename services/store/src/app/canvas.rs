//! A project with everything on its canvas, in one read.

use serde::Serialize;
use sha2::{Digest, Sha256};
use sker_api::Ctx;
use sker_error::Result;
use sker_types::{Uuid, now};
use utoipa::ToSchema;

use super::{App, Connection, Node, Project, access};
use crate::store::{connections, nodes, projects};

/// A project, its nodes and its connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Canvas {
    project: Project,
    nodes: Vec<Node>,
    connections: Vec<Connection>,
}

impl Canvas {
    /// Changes when anything on the canvas does.
    pub(crate) fn revision(&self) -> i64 {
        let mut hash = Sha256::new();
        let mut add = |id: Uuid, version: i64| {
            hash.update(id.as_bytes());
            hash.update(version.to_be_bytes());
        };
        add(self.project.id, self.project.version);
        self.nodes.iter().for_each(|node| add(node.id, node.version));
        self.connections.iter().for_each(|connection| add(connection.id, connection.version));
        let digest = hash.finalize();
        // 63 bits of it, which is a version like any other.
        digest.iter().take(8).fold(0, |number: i64, byte| (number << 8) | i64::from(*byte)) & i64::MAX
    }
}

impl App {
    /// The canvas of a project.
    pub(crate) async fn canvas(&self, ctx: &Ctx, id: Uuid) -> Result<Canvas> {
        let tx = self.store.begin_read().await?;
        let project = access::project(tx.conn(), ctx, id).await?;
        let nodes = nodes::all_of(tx.conn(), id).await?;
        let connections = connections::all_of(tx.conn(), id).await?;
        drop(tx);
        let now = now();
        // Whoever reads need not wait for the writer each time.
        if project.last_accessed_at.is_none_or(|at| at < now - projects::TOUCHED_EVERY) {
            projects::touch(self.store.writer(), id, now).await?;
        }
        Ok(Canvas {
            project: project.into(),
            nodes: nodes.into_iter().map(Node::from).collect(),
            connections: connections.into_iter().map(Connection::from).collect(),
        })
    }
}
