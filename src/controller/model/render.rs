//! What an EmbeddingModel makes: the server of a managed encoder and the Job that measures an endpoint.
//!
//! Invariant: names and selectors follow from the object alone; the same inputs give the same objects.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::declared;
use super::encoder;
use crate::api::model::{Endpoint, ManagedEndpoint};
use crate::api::{EmbeddingModel, names};
use crate::controller::config::Config;
use crate::controller::pod::{self, JobRequest, Mounts, Pod};
use crate::controller::reconcile::owner;
use crate::worker::job::{JobInput, ProbeTask, Task, paths};
use crate::worker::receipt::whole;

/// Purpose label of the server under the model's own name.
pub const PURPOSE_MAIN: &str = "embed";
/// Purpose label of the server of a changed model directory while it is measured.
pub const PURPOSE_TRIAL: &str = "embed-trial";
/// Purpose label of the Job that measures.
pub const PURPOSE_PROBE: &str = "probe";

/// Name of the server of a changed model directory.
pub fn trial_name(model: &EmbeddingModel) -> String {
    pod::job_name(&model.name_any(), &(model.uid().unwrap_or_default(), PURPOSE_TRIAL))
}

/// Name of the Job that measures the declared endpoint against the sketch in status: another endpoint or another
/// sketch is another measurement.
pub fn probe_name(model: &EmbeddingModel) -> String {
    let sketch = model.status.as_ref().and_then(|status| status.sketch.as_deref());
    let measured = declared::measured(&model.spec, &model.spec.endpoint);
    pod::job_name(&model.name_any(), &(model.uid().unwrap_or_default(), PURPOSE_PROBE, measured, sketch))
}

/// Address of a server of ours, with `/v1`.
pub fn url(model: &EmbeddingModel, server: &str) -> String {
    format!("http://{server}.{}.svc:{}/v1", model.namespace().unwrap_or_default(), names::PORT_TRAFFIC)
}

/// Address of an endpoint whose server, if it is ours, has this name.
pub fn address(model: &EmbeddingModel, endpoint: &Endpoint, server: &str) -> String {
    match &endpoint.open_ai {
        Some(asked) => asked.url.clone(),
        None => url(model, server),
    }
}

/// A server of a managed encoder.
#[derive(Clone, Debug)]
pub struct Server<'a> {
    pub model: &'a EmbeddingModel,
    pub config: &'a Config,
    pub name: String,
    pub purpose: &'static str,
    pub managed: &'a ManagedEndpoint,
    pub replicas: i32,
    /// Whether its claim can be mounted on one node only.
    pub one_node: bool,
}

impl Server<'_> {
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = pod::labels(&self.model.name_any(), &self.model.uid().unwrap_or_default());
        labels.insert(names::LABEL_PURPOSE.to_owned(), self.purpose.to_owned());
        labels
    }

    /// The owner's UID keeps two models of one name apart, the purpose keeps probes and trials out.
    fn selector(&self) -> BTreeMap<String, String> {
        let labels = self.labels();
        labels.into_iter().filter(|(key, _)| key == names::LABEL_OWNER_UID || key == names::LABEL_PURPOSE).collect()
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: self.model.namespace(),
            labels: Some(self.labels()),
            owner_references: Some(vec![owner(self.model)]),
            ..ObjectMeta::default()
        }
    }

    fn args(&self) -> Vec<String> {
        let path = self.managed.model.path.trim_matches('/');
        let directory = if path.is_empty() { paths::MODEL.to_owned() } else { format!("{}/{path}", paths::MODEL) };
        let listen = format!("0.0.0.0:{}", names::PORT_TRAFFIC);
        let health = format!("0.0.0.0:{}", names::PORT_HEALTH);
        let most = self.model.spec.max_input_tokens.to_string();
        ["embed", "--model", &directory, "--listen", &listen, "--health", &health, "--max-input-tokens", &most]
            .map(ToOwned::to_owned)
            .to_vec()
    }

    /// The pods. A new pod serves before an old one goes.
    pub fn deployment(&self) -> Deployment {
        let claim = &self.managed.model.claim_name;
        let template = pod::template(&Pod {
            config: self.config,
            image: None,
            args: self.args(),
            input: None,
            mounts: Mounts::default().claim(claim, paths::MODEL, true),
            resources: self.managed.resources.as_ref(),
            defaults: pod::EMBED,
            labels: self.labels(),
            together: self.one_node.then(|| claim.clone()),
            serves: true,
        });
        Deployment {
            metadata: self.metadata(),
            spec: Some(DeploymentSpec {
                replicas: Some(self.replicas),
                selector: LabelSelector { match_labels: Some(self.selector()), ..LabelSelector::default() },
                strategy: Some(pod::one_by_one()),
                template,
                ..DeploymentSpec::default()
            }),
            status: None,
        }
    }

    /// Its address.
    pub fn service(&self) -> Service {
        Service {
            metadata: self.metadata(),
            spec: Some(ServiceSpec {
                selector: Some(self.selector()),
                ports: Some(vec![ServicePort {
                    name: Some("http".to_owned()),
                    port: names::PORT_TRAFFIC,
                    target_port: Some(IntOrString::String("http".to_owned())),
                    protocol: Some("TCP".to_owned()),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            status: None,
        }
    }
}

/// The Job that measures the declared endpoint at `url`.
pub fn probe(model: &EmbeddingModel, config: &Config, name: &str, url: &str, timeout: Duration) -> Job {
    let endpoint = &model.spec.endpoint;
    let task = ProbeTask {
        encoder: encoder::at(&model.spec, endpoint, url),
        sketch: model.status.as_ref().and_then(|status| status.sketch.clone()),
    };
    let input = JobInput { v: 1, run: name.to_owned(), task: Task::Probe(task) };
    // Two passes of few requests, each tried again while the encoder starts.
    let deadline = 600_u64.saturating_add(timeout.as_secs().saturating_mul(4));
    pod::job(&JobRequest {
        name: name.to_owned(),
        namespace: &model.namespace().unwrap_or_default(),
        owner: owner(model),
        purpose: PURPOSE_PROBE,
        deadline_seconds: whole(deadline),
        retries: 0,
        pod: Pod {
            config,
            image: None,
            args: vec!["probe".to_owned()],
            input: Some(&input),
            mounts: encoder::files(endpoint, Mounts::default()),
            resources: None,
            defaults: pod::LIGHT,
            labels: pod::labels(&model.name_any(), &model.uid().unwrap_or_default()),
            together: None,
            serves: false,
        },
    })
}
