use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::Value;
use sker_error::{Error, FieldError, Fields, Result};
use utoipa::ToSchema;

use super::{
    Checker, Depth, Failure, Kind, Monitor, Observation, Step, Target,
    checker::millis,
    link::{Link, Reuse},
};

/// How long a test waits for other checks of the same target.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What to test: settings to try, or one of the configured targets; neither tests all targets of the kind.
#[derive(Clone, Debug, Default)]
pub struct TestRequest {
    url: Option<String>,
    management_url: Option<String>,
    target: Option<String>,
}

/// How a test went.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TestReport {
    /// Whether all went well.
    pub success: bool,
    /// `done`, or the step that failed.
    pub step: Step,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took.
    pub latency_ms: f64,
    /// One by one, when configured targets were tested.
    pub targets: Vec<TestedTarget>,
}

/// How the test of one target went.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TestedTarget {
    /// The target's name.
    pub name: String,
    /// Whether all went well.
    pub success: bool,
    /// `done`, or the step that failed.
    pub step: Step,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took.
    pub latency_ms: f64,
}

impl TestRequest {
    /// Reads a body; an empty one is none.
    ///
    /// # Errors
    /// `validation_failed` or `unknown_field` with every wrong field.
    pub fn read(body: Option<Value>) -> Result<Self> {
        let Some(body) = body else { return Ok(TestRequest::default()) };
        let mut fields = Fields::new(body)?;
        let url = fields.string("url", 1..=2048).value();
        let management_url = fields.string("management_url", 1..=2048).value();
        let target = fields.string("target", 1..=64).value();
        if url.is_some() && target.is_some() {
            fields.fault("target", "conflicting", "give either a url to try or the name of a target");
        }
        if management_url.is_some() && url.is_none() {
            fields.fault("management_url", "conflicting", "goes with a url to try");
        }
        fields.finish()?;
        Ok(TestRequest { url, management_url, target })
    }
}

impl Monitor {
    /// Tests a connection now. What it finds changes no status and no history.
    ///
    /// # Errors
    /// `not_found` for a target that is not configured, `validation_failed` for a URL that is none of this kind. A test
    /// that fails is not an error.
    pub async fn test(&self, kind: Kind, request: TestRequest) -> Result<TestReport> {
        if let Some(url) = request.url {
            return self.try_settings(kind, url, request.management_url).await;
        }
        let wanted: Vec<_> = self
            .of_kind(kind)
            .filter(|checker| request.target.as_ref().is_none_or(|name| *name == checker.target().name))
            .collect();
        if wanted.is_empty() {
            return match request.target {
                Some(_) => Err(Error::not_found("target")),
                None => Ok(TestReport::not_tried(self.kind_status(kind).message)),
            };
        }
        let tested = futures::future::join_all(wanted.into_iter().map(|checker| test_target(checker))).await;
        Ok(TestReport::of(tested))
    }

    async fn try_settings(&self, kind: Kind, url: String, management_url: Option<String>) -> Result<TestReport> {
        let Some(driver) = self.drivers.get(kind) else {
            let message = format!("the {} driver follows in a later release", kind.title());
            return Ok(TestReport::not_tried(message));
        };
        let fault = |field: &str, message: String| FieldError::new(field, "invalid", message);
        let mut faults: Vec<FieldError> =
            driver.check_url(&url).err().map(|message| fault("url", message)).into_iter().collect();
        let mut target = Target::new("trial", kind, url);
        if let Some(management_url) = management_url {
            let checked = driver.check_management_url(&management_url);
            faults.extend(checked.err().map(|message| fault("management_url", message)));
            target = target.with_management(management_url);
        }
        if !faults.is_empty() {
            return Err(Error::validation(faults));
        }
        let _turn = self.trials.acquire().await.map_err(Error::internal)?;
        let link = Link::new(Arc::clone(driver));
        let (result, latency) = link.look(&target, Depth::Light, Reuse::No, self.trial_deadline).await;
        link.close().await;
        let tested = TestedTarget::new(&target, result, millis(latency));
        Ok(TestReport { targets: Vec::new(), ..TestReport::of(vec![tested]) })
    }
}

async fn test_target(checker: &Checker) -> TestedTarget {
    let (result, latency) = match checker.turn(LONGEST_WAIT).await {
        Ok(_turn) => checker.test().await,
        Err(failure) => (Err(failure), Duration::ZERO),
    };
    TestedTarget::new(checker.target(), result, millis(latency))
}

impl TestedTarget {
    fn new(target: &Target, result: Result<Observation, Failure>, latency_ms: f64) -> Self {
        let (step, error) = match result {
            Ok(_) => (Step::Done, None),
            Err(failure) => (failure.step, Some(failure.message)),
        };
        TestedTarget { name: target.name.clone(), success: error.is_none(), step, error, latency_ms }
    }
}

impl TestReport {
    fn not_tried(message: String) -> Self {
        TestReport { success: false, step: Step::Resolve, error: Some(message), latency_ms: 0.0, targets: Vec::new() }
    }

    /// The first step that failed stands for all; they were tested side by side.
    fn of(targets: Vec<TestedTarget>) -> Self {
        let failed = targets.iter().filter(|target| !target.success).min_by_key(|target| target.step);
        let error = failed.map(|target| match (targets.len(), target.error.as_deref().unwrap_or_default()) {
            (1, error) => error.to_owned(),
            (_, error) => format!("{}: {error}", target.name),
        });
        TestReport {
            success: failed.is_none(),
            step: failed.map_or(Step::Done, |target| target.step),
            error,
            latency_ms: targets.iter().map(|target| target.latency_ms).fold(0.0, f64::max),
            targets,
        }
    }
}
