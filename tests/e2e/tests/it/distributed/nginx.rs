//! nginx in front of gateways that it finds by DNS.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use reqwest::Method;
use serde_json::{Value, json};
use sker_testkit::{Api, Distributed, EventStream, NginxServer, Outside, Plan, Socket, eventually};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{canvas::is_creation_of, follower::Follower, names::Names};

const TEMPLATE: &str = include_str!("../../../../../nginx/nginx.conf.template");

/// A platform behind nginx.
struct Site {
    platform: Distributed,
    names: Names,
    nginx: NginxServer,
    _home: TempDir,
}

impl Site {
    async fn start(gateways: usize) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let plan = Plan::default().gateways(gateways).gateways_on_one_port().with(
            "gateway",
            "limits.trusted_proxies",
            r#"["127.0.0.1"]"#,
        );
        let platform = Distributed::start(home.path(), Outside::shared(), plan).await?;
        let names = Names::start(&[platform.gateways[0].host()]).await?;
        let gateway = format!("gateway.test:{}", platform.gateways[0].port());
        let nginx = NginxServer::start(TEMPLATE, &gateway, names.address).await?;
        Ok(Site { platform, names, nginx, _home: home })
    }

    async fn user(&self) -> Result<Api> {
        Api::new(&self.nginx.url())?.sign_up().await
    }
}

async fn health_at(url: String) -> Result<HealthClient<Channel>> {
    Ok(HealthClient::new(Channel::from_shared(url)?.connect().await?))
}

#[tokio::test]
async fn http_sockets_event_streams_and_grpc_pass_through_nginx() -> Result<()> {
    let site = Site::start(1).await?;
    let user = site.user().await?;
    let token = user.token().context("signed in")?;
    let project = user.create_project("behind nginx").await?;
    let mut socket = Socket::connect(&user).await?;
    let mut frames = socket.subscribe(&format!("project:{project}"), None).await?;
    let mut stream = EventStream::open(&user, &format!("/api/v1/events?channel=project:{project}"), None).await?;
    let in_query = format!("{}/ws?token={token}", site.nginx.url().replacen("http", "ws", 1));
    Socket::connect_to(&in_query).await?.subscribe(&format!("project:{project}"), None).await?;

    let node = user.create_node(&project, "bees", crate::texts::ENGLISH).await?;
    let task = user.analyse(&project, &node).await?;
    frames.extend(socket.until(|frame| frame["type"] == "ai_task.completed").await?);
    assert!(frames.iter().any(|frame| is_creation_of(frame, &node)), "{frames:#?}");
    while stream.next().await?["data"]["type"] != "ai_task.completed" {}
    user.completed(&task).await?;

    // The same configuration in front of what serves gRPC: status and trailers come back.
    let grpc = format!("store.test:{}", site.platform.stores[0].grpc_port()?);
    let names = Names::start(&["127.0.0.1"]).await?;
    let nginx = NginxServer::start(TEMPLATE, &grpc, names.address).await?;
    let mut health = health_at(nginx.grpc_url()).await?;
    let serving = health.check(HealthCheckRequest::default()).await?.into_inner();
    assert_eq!(serving.status().as_str_name(), "SERVING");
    let unknown = health.check(HealthCheckRequest { service: "nobody".into() }).await;
    assert_eq!(unknown.expect_err("there is no such service").code(), tonic::Code::NotFound);
    // The gateway speaks HTTP/2 on its port as well, and answers what it has no route for.
    let mut gateway = health_at(site.nginx.grpc_url()).await?;
    let refused = gateway.check(HealthCheckRequest::default()).await.expect_err("it has no such service");
    assert!(refused.metadata().get("x-request-id").is_some(), "the gateway answered: {refused:?}");

    let log = site.nginx.log()?;
    assert!(log.contains(r#""path":"/ws""#), "requests are logged: {log}");
    assert!(!log.contains(token), "a query string was logged: {log}");
    Ok(())
}

/// Clients that read, and clients that write, until they are told to stop; what fails is kept.
struct Clients {
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(number: usize, method: &Method, user: &Api, path: &str) -> Self {
        let (done, failed) = <(Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>)>::default();
        let (stop, stopped) = watch::channel(false);
        let client = |_| {
            let (user, path, method, stopped) = (user.clone(), path.to_owned(), method.clone(), stopped.clone());
            let (done, failed) = (done.clone(), failed.clone());
            tokio::spawn(async move {
                while !*stopped.borrow() {
                    let request = user.request(method.clone(), &path);
                    let request =
                        if method == Method::POST { request.json(&json!({"title": "one of many"})) } else { request };
                    match user.send(request).await {
                        Ok(answer) if answer.status.is_success() => {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(answer) => {
                            failed.lock().expect("nobody panics").push(format!("{} {}", answer.status, answer.text))
                        }
                        Err(error) => failed.lock().expect("nobody panics").push(format!("{error:#}")),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        };
        let tasks = (0..number).map(client).collect();
        Clients { done, failed, stop, tasks }
    }

    /// Waits until so many more requests were answered.
    async fn more(&self, number: usize) -> Result<()> {
        let enough = self.done.load(Ordering::Relaxed) + number;
        eventually("requests are answered", async || Ok((self.done.load(Ordering::Relaxed) >= enough).then_some(())))
            .await
    }

    fn failed(&self) -> Result<Vec<String>> {
        Ok(self.failed.lock().map_err(|_| anyhow!("a client panicked"))?.clone())
    }

    /// Stops them; answers how many requests succeeded and why the others did not.
    async fn stop(self) -> Result<(usize, Vec<String>)> {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await?;
        }
        let failed = self.failed.lock().map_err(|_| anyhow!("a client panicked"))?.clone();
        Ok((self.done.load(Ordering::Relaxed), failed))
    }
}

#[tokio::test]
async fn gateways_come_and_go_behind_nginx_and_no_request_fails() -> Result<()> {
    const SOME: usize = 100;
    let mut site = Site::start(2).await?;
    let hosts: Vec<String> = site.platform.gateways.iter().map(|gateway| gateway.host().to_owned()).collect();
    let (first, second) = (hosts[0].as_str(), hosts[1].as_str());
    // The second is not there yet.
    site.platform.gateways[1].stop().await?;
    let user = site.user().await?;
    let project = user.create_project("behind nginx").await?;
    let follower = Follower::start(vec![user.clone()], format!("project:{project}")).await?;
    let begin = user.create_node(&project, "first", "").await?;
    follower.until("the first event", |frame| is_creation_of(frame, &begin)).await?;
    let nodes = format!("/api/v1/projects/{project}/nodes");
    let (readers, writers) =
        (Clients::start(3, &Method::GET, &user, &nodes), Clients::start(1, &Method::POST, &user, &nodes));
    readers.more(SOME).await?;

    // One comes.
    site.platform.gateways[1].restart().await?;
    site.names.know(&[first, second])?;
    let upstream = format!("{second}:{}", site.platform.gateways[1].port());
    eventually("it is found", async || Ok(site.nginx.log()?.contains(&upstream).then_some(()))).await?;
    readers.more(SOME).await?;
    // One goes in order: it is forgotten after it has gone.
    assert_eq!(site.platform.gateways[0].stop().await?, Some(0));
    readers.more(SOME).await?;
    site.names.know(&[second])?;
    readers.more(SOME).await?;
    // It comes back.
    site.platform.gateways[0].restart().await?;
    site.names.know(&[first, second])?;
    readers.more(SOME).await?;
    assert_eq!(writers.failed()?, Vec::<String>::new(), "nobody noticed");
    // The other is killed, and is forgotten a while later.
    site.platform.gateways[1].kill().await?;
    readers.more(SOME).await?;
    site.names.know(&[first])?;
    readers.more(SOME).await?;

    let (_, failed) = readers.stop().await?;
    assert_eq!(failed, Vec::<String>::new(), "what may be repeated does not fail");
    let (written, failed) = writers.stop().await?;
    // Its only client had at most one request in its hands when the gateway was killed.
    assert!(failed.len() <= 1, "{failed:#?}");
    let end = user.create_node(&project, "last", "").await?;
    follower.until("the last event", |frame| is_creation_of(frame, &end)).await?;
    let frames = follower.frames()?;
    let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "in order, none repeated: {seqs:?}");
    let told = frames.iter().filter(|frame| frame["type"] == "node.created").count();
    // What failed may have been done; the first and the last are none of the writer's.
    assert!((written + 2..=written + 2 + failed.len()).contains(&told), "{told} of {written} were told");
    Ok(())
}

/// A server in a gateway's place that keeps what it is asked.
async fn stand_in(asked: Arc<Mutex<Vec<String>>>, listener: TcpListener) -> Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await?);
        }
        asked.lock().expect("nobody panics").push(String::from_utf8_lossy(&request).to_lowercase());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
    }
}

#[tokio::test]
async fn nginx_says_on_whose_behalf_it_asks_whatever_the_client_says() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let gateway = format!("gateway.test:{}", listener.local_addr()?.port());
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let serving = tokio::spawn(stand_in(asked.clone(), listener));
    let names = Names::start(&["127.0.0.1"]).await?;
    let nginx = NginxServer::start(TEMPLATE, &gateway, names.address).await?;
    let api = Api::new(&nginx.url())?;
    let lies =
        ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded", "X-Forwarded-Prefix"];
    let request =
        lies.iter().fold(api.request(Method::GET, "/a//b?c=d"), |request, name| request.header(*name, "liar"));
    let answer = api.send(request.header("Upgrade", "h2c").header("Connection", "Upgrade")).await?;
    assert_eq!(answer.status, 200);
    let head = asked.lock().map_err(|_| anyhow!("it panicked"))?.concat();
    assert!(head.starts_with("get /a//b?c=d http/1.1\r\n"), "paths and queries are passed on as they came: {head}");
    assert!(head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{head}");
    assert!(!head.contains("liar") && !head.contains("h2c"), "{head}");

    // Nobody is left to ask: nginx's own answer is a problem document like every other.
    serving.abort();
    let _ = serving.await;
    let problem = api.get("/api/v1/projects?token=secret").await?.expect_problem(502, "bad_gateway")?;
    assert_eq!(problem.body["instance"], Value::from("/api/v1/projects"));
    assert!(!nginx.log()?.contains("secret"));
    Ok(())
}
