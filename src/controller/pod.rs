//! Pods that we make: always restricted, always ours.
//!
//! Why one place: security fields are stamped here, last, over everything that came from a user. Invariants:
//! no token, no root, no writable root file system, one container, limits always set.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::batch::v1::{Job, JobSpec, PodFailurePolicy, PodFailurePolicyRule};
use k8s_openapi::api::batch::v1::{PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    HTTPGetAction, KeyToPath, PersistentVolumeClaimVolumeSource, PodAffinity, PodAffinityTerm, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config::Config;
use crate::api::model::OpenAiEndpoint;
use crate::api::{DataFrom, Resources, names};
use crate::worker::job::{JobInput, digest, paths};

/// CPU and memory of a kind of pod when its object names none: requested, and at most.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub cpu: &'static str,
    pub memory: &'static str,
    pub memory_limit: &'static str,
}

/// Jobs that read documents or datasets. They take what is idle: a build beside servers must not make their users
/// wait, and requests are the shares in which a full node is divided.
pub const WORKER: Defaults = Defaults { cpu: "25m", memory: "256Mi", memory_limit: "2Gi" };
/// Pods of a revision.
pub const SERVE: Defaults = Defaults { cpu: "100m", memory: "128Mi", memory_limit: "1Gi" };
/// Pods of a managed encoder.
pub const EMBED: Defaults = Defaults { cpu: "100m", memory: "256Mi", memory_limit: "512Mi" };
/// Jobs that only speak to servers.
pub const LIGHT: Defaults = Defaults { cpu: "25m", memory: "64Mi", memory_limit: "512Mi" };

/// What a pod is to do.
#[derive(Clone, Debug)]
pub struct Pod<'a> {
    pub config: &'a Config,
    /// Image, when it is not the operator's present one.
    pub image: Option<&'a str>,
    pub args: Vec<String>,
    pub input: Option<&'a JobInput>,
    pub mounts: Mounts,
    pub resources: Option<&'a Resources>,
    pub defaults: Defaults,
    pub labels: BTreeMap<String, String>,
    /// Claim whose pods must run on one node.
    pub together: Option<String>,
    /// Whether it serves: ports, probes, restarts.
    pub serves: bool,
}

/// Volumes and where they are mounted.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
}

impl Mounts {
    fn push(&mut self, volume: Volume, path: &str, sub_path: Option<&str>, read_only: bool) {
        self.mounts.push(VolumeMount {
            name: volume.name.clone(),
            mount_path: path.to_owned(),
            sub_path: sub_path.filter(|p| !p.is_empty()).map(ToOwned::to_owned),
            // The server leaves `false` out: saying it would look like a difference in every pass.
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
        // One volume a name: several paths of the same claim share it.
        if !self.volumes.iter().any(|v| v.name == volume.name) {
            self.volumes.push(volume);
        }
    }

    /// A claim, whole.
    pub fn claim(mut self, claim: &str, path: &str, read_only: bool) -> Self {
        let volume = Volume {
            name: volume_name("claim", claim),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.to_owned(),
                // Read-only is set where it is mounted: one pod may mount one claim in two ways.
                read_only: None,
            }),
            ..Volume::default()
        };
        self.push(volume, path, None, read_only);
        self
    }

    /// A ConfigMap's keys, or a claim, as a directory.
    pub fn data(mut self, from: &DataFrom, path: &str) -> Self {
        if let Some(source) = &from.config_map {
            let items = source.keys.iter().map(|k| KeyToPath { key: k.clone(), path: k.clone(), mode: None });
            let volume = Volume {
                name: volume_name("map", &format!("{}/{}", source.name, source.keys.join(","))),
                config_map: Some(ConfigMapVolumeSource {
                    name: source.name.clone(),
                    items: (!source.keys.is_empty()).then(|| items.collect()),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            };
            self.push(volume, path, None, true);
        }
        match &from.volume {
            Some(source) => self.claim(&source.claim_name, path, true),
            None => self,
        }
    }

    /// The token and the certificates that an encoder needs.
    pub fn encoder(mut self, endpoint: &OpenAiEndpoint) -> Self {
        if let Some(key) = &endpoint.api_key {
            let volume = Volume {
                name: "encoder-key".to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(key.name.clone()),
                    items: Some(vec![KeyToPath { key: key.key.clone(), path: "api-key".to_owned(), mode: None }]),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            };
            self.push(volume, parent(paths::API_KEY), None, true);
        }
        if let Some(bundle) = &endpoint.ca_bundle {
            let volume = Volume {
                name: "encoder-ca".to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: bundle.name.clone(),
                    items: Some(vec![KeyToPath { key: bundle.key.clone(), path: "ca.crt".to_owned(), mode: None }]),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            };
            self.push(volume, parent(paths::CA_BUNDLE), None, true);
        }
        self
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(head, _)| head)
}

/// Names of volumes are DNS labels of at most 63 characters; names of claims may be longer.
fn volume_name(prefix: &str, name: &str) -> String {
    let hash: String = digest(&name).chars().take(10).collect();
    format!("{prefix}-{hash}")
}

/// A label value for a claim of any name.
pub fn claim_label(claim: &str) -> String {
    if claim.len() <= 63 { claim.to_owned() } else { digest(&claim).chars().take(40).collect() }
}

/// The pod template.
pub fn template(pod: &Pod<'_>) -> PodTemplateSpec {
    let mut labels = pod.labels.clone();
    if let Some(claim) = &pod.together {
        labels.insert(names::LABEL_CLAIM.to_owned(), claim_label(claim));
    }
    let annotations = BTreeMap::from([("sidecar.istio.io/inject".to_owned(), "false".to_owned())]);
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(spec(pod)),
    }
}

fn spec(pod: &Pod<'_>) -> PodSpec {
    let mut mounts = pod.mounts.clone();
    let scratch = Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity("256Mi".to_owned())), medium: None }),
        ..Volume::default()
    };
    mounts.push(scratch, "/tmp", None, false);
    PodSpec {
        affinity: pod.together.as_deref().map(one_node),
        containers: vec![container(pod, mounts.mounts)],
        volumes: Some(mounts.volumes),
        restart_policy: Some(if pod.serves { "Always" } else { "Never" }.to_owned()),
        termination_grace_period_seconds: Some(30),
        // Stamped: nothing that a user wrote reaches these.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65_532),
            run_as_group: Some(65_532),
            fs_group: Some(65_532),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// A claim that only one node may mount: its pods run where the others run.
fn one_node(claim: &str) -> Affinity {
    Affinity {
        pod_affinity: Some(PodAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![PodAffinityTerm {
                label_selector: Some(LabelSelector {
                    match_labels: Some(BTreeMap::from([(names::LABEL_CLAIM.to_owned(), claim_label(claim))])),
                    ..LabelSelector::default()
                }),
                topology_key: "kubernetes.io/hostname".to_owned(),
                ..PodAffinityTerm::default()
            }]),
            ..PodAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn container(pod: &Pod<'_>, mounts: Vec<VolumeMount>) -> Container {
    let probe = |path: &str, period: i32, failures: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(names::PORT_HEALTH),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    let port = |name: &str, port: i32| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        ..ContainerPort::default()
    };
    let ports = vec![
        port("http", names::PORT_TRAFFIC),
        port("evaluation", names::PORT_EVALUATION),
        port("health", names::PORT_HEALTH),
    ];
    Container {
        name: names::CONTAINER.to_owned(),
        image: Some(pod.image.unwrap_or(&pod.config.image).to_owned()),
        image_pull_policy: Some(pod.config.image_pull_policy.as_str().to_owned()),
        args: Some(pod.args.clone()),
        env: pod.input.map(|input| {
            let value = serde_json::to_string(input).unwrap_or_default();
            vec![EnvVar { name: names::ENV_JOB.to_owned(), value: Some(value), value_from: None }]
        }),
        ports: pod.serves.then_some(ports),
        readiness_probe: pod.serves.then(|| probe("/readyz", 1, 2)),
        liveness_probe: pod.serves.then(|| probe("/livez", 10, 6)),
        resources: Some(resources(pod.resources.or(pod.config.resources.as_ref()), pod.defaults)),
        volume_mounts: Some(mounts),
        termination_message_path: Some(paths::TERMINATION_LOG.to_owned()),
        termination_message_policy: Some("File".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn resources(wanted: Option<&Resources>, defaults: Defaults) -> ResourceRequirements {
    let quantity = |text: &str| Quantity(text.to_owned());
    let mut requests =
        BTreeMap::from([("cpu".to_owned(), quantity(defaults.cpu)), ("memory".to_owned(), quantity(defaults.memory))]);
    let mut limits = BTreeMap::from([("memory".to_owned(), quantity(defaults.memory_limit))]);
    if let Some(wanted) = wanted {
        let given = |amounts: &Option<crate::api::ResourceAmounts>| {
            let mut map = BTreeMap::new();
            if let Some(amounts) = amounts {
                map.extend(amounts.cpu.as_deref().map(|cpu| ("cpu".to_owned(), quantity(cpu))));
                map.extend(amounts.memory.as_deref().map(|memory| ("memory".to_owned(), quantity(memory))));
            }
            map
        };
        // A limit below the default request would be refused by the API server: it becomes the request.
        requests.extend(given(&wanted.limits));
        requests.extend(given(&wanted.requests));
        limits.extend(given(&wanted.requests).into_iter().filter(|(name, _)| name == "memory"));
        limits.extend(given(&wanted.limits));
    }
    ResourceRequirements { requests: Some(requests), limits: Some(limits), claims: None }
}

/// A Job that runs one pod to its end.
#[derive(Clone, Debug)]
pub struct JobRequest<'a> {
    pub name: String,
    pub namespace: &'a str,
    pub owner: OwnerReference,
    pub purpose: &'static str,
    pub deadline_seconds: i64,
    /// Attempts of the Job itself after the first; measurements have none, their object counts attempts.
    pub retries: i32,
    pub pod: Pod<'a>,
}

/// The Job as it is created: never changed afterwards.
pub fn job(request: &JobRequest<'_>) -> Job {
    let mut labels = request.pod.labels.clone();
    labels.insert(names::LABEL_PURPOSE.to_owned(), request.purpose.to_owned());
    let pod = Pod { labels: labels.clone(), ..request.pod.clone() };
    let invalid = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(names::CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values: vec![crate::worker::receipt::EXIT_INVALID],
        }),
        on_pod_conditions: None,
    };
    let disrupted = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
    };
    let rules = if request.retries > 0 { vec![invalid, disrupted] } else { vec![invalid] };
    Job {
        metadata: ObjectMeta {
            name: Some(request.name.clone()),
            namespace: Some(request.namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![request.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(request.retries),
            active_deadline_seconds: Some(request.deadline_seconds),
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(PodFailurePolicy { rules }),
            template: template(&pod),
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// Labels of everything that an object owns.
pub fn labels(owner: &str, uid: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), names::MANAGER.to_owned()),
        (names::LABEL_OWNER.to_owned(), owner.to_owned()),
        (names::LABEL_OWNER_UID.to_owned(), uid.to_owned()),
    ])
}

/// `<owner>-<10 hex digits of the parts>`: the same inputs give the same name, so a lost write is found again.
pub fn job_name(owner: &str, parts: &impl serde::Serialize) -> String {
    let hash: String = digest(parts).chars().take(10).collect();
    format!("{owner}-{hash}")
}

/// A new pod serves before an old one goes.
pub fn one_by_one() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// DNS-1123; Services want DNS-1035, which begins with a letter, so all of ours do.
    fn is_dns_label(name: &str) -> bool {
        let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let first = name.starts_with(|c: char| c.is_ascii_lowercase());
        inner && first && !name.ends_with('-') && name.len() <= 63
    }

    proptest! {
        /// Whatever an object that we accept is called, everything made from its name is a name too.
        #[test]
        fn names_made_from_accepted_names_are_names(
            owner in "[a-z]([a-z0-9-]{0,38}[a-z0-9])?",
            revision in "[0-9a-f]{10}",
            purpose in "\\PC{0,80}",
            claim in "[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?",
        ) {
            prop_assert_eq!(crate::controller::spec::label("metadata.name", &owner), Ok(()));
            let names = [
                job_name(&owner, &purpose),
                crate::controller::release::traffic::service_name(&owner, &revision),
                volume_name("claim", &claim),
            ];
            for name in names {
                prop_assert!(is_dns_label(&name), "{name}");
            }
            let label = claim_label(&claim);
            prop_assert!(label.len() <= 63 && label.ends_with(|c: char| c.is_ascii_alphanumeric()), "{label}");
        }

        /// The same parts give the same name, other parts another one.
        #[test]
        fn names_say_what_they_were_made_from(
            owner in "[a-z]{1,40}", left in "\\PC{0,20}", right in "\\PC{0,20}", cut in 0_usize..20,
        ) {
            prop_assert_eq!(job_name(&owner, &(&left, &right)), job_name(&owner, &(&left, &right)));
            if left != right {
                prop_assert_ne!(job_name(&owner, &(&left, &right)), job_name(&owner, &(&right, &left)));
            }
            // Where one part ends is a part of the name.
            let whole = format!("{left}{right}");
            if let Some((a, b)) = whole.split_at_checked(cut).filter(|(a, _)| *a != left) {
                prop_assert_ne!(job_name(&owner, &(&left, &right)), job_name(&owner, &(a, b)));
            }
        }
    }

    #[test]
    fn every_pod_passes_the_restricted_standard() {
        let config = Config::plain();
        for serves in [true, false] {
            let pod = Pod {
                config: &config,
                image: None,
                args: vec!["serve".to_owned()],
                input: None,
                mounts: Mounts::default().claim("index", "/index", true),
                resources: None,
                defaults: SERVE,
                labels: BTreeMap::new(),
                together: Some("index".to_owned()),
                serves,
            };
            let spec = template(&pod).spec.unwrap();
            let pod_security = spec.security_context.unwrap();
            assert_eq!(pod_security.run_as_non_root, Some(true));
            assert_eq!(pod_security.seccomp_profile.unwrap().type_, "RuntimeDefault");
            assert_eq!(spec.automount_service_account_token, Some(false));
            assert!(spec.host_network.is_none() && spec.host_pid.is_none() && spec.host_ipc.is_none());
            assert!(spec.volumes.unwrap().iter().all(|v| v.host_path.is_none()));
            let container = &spec.containers[0];
            let security = container.security_context.as_ref().unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
            assert!(container.resources.as_ref().unwrap().limits.is_some());
        }
    }

    #[test]
    fn a_small_limit_lowers_the_default_request() {
        let wanted: Resources = serde_json::from_value(serde_json::json!({"limits": {"memory": "64Mi"}})).unwrap();
        let resources = resources(Some(&wanted), WORKER);
        assert_eq!(resources.requests.unwrap()["memory"].0, "64Mi");
        assert_eq!(resources.limits.unwrap()["memory"].0, "64Mi");
    }
}
