//! The cluster that the story runs on: the project's own (`dev/cluster`), or with `CLUSTER=current` the one of
//! the present kubeconfig context.
//!
//! Invariant: someone else's cluster is only spoken to through its apiserver, `kubectl attach` and its gateway.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

/// The static programs whose images the pods run.
pub struct Programs {
    pub rag: PathBuf,
    pub fault_proxy: PathBuf,
}

impl Programs {
    /// Cargo puts examples beside the programs of the same build.
    pub fn beside(rag: PathBuf) -> Self {
        let directory = rag.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { rag, fault_proxy: directory.join("examples").join("fault-proxy") }
    }
}

/// Whose cluster it is.
enum Whose {
    /// Started by `dev/cluster/cluster`; components and containers can be handled by name.
    Own { script: PathBuf },
    /// The kubeconfig's current context.
    Current,
}

/// A connection and what the pods of the story need.
pub struct Cluster {
    pub client: Client,
    whose: Whose,
    /// Image of `rag`.
    pub image: String,
    /// Image of the fault proxy.
    pub fault_proxy_image: String,
    /// Where users' requests enter, without a slash at the end.
    pub gateway: String,
    /// The apiserver's audit log, where it can be read.
    pub audit: Option<PathBuf>,
}

/// The Gateway `public` of the own cluster.
const OWN_GATEWAY: &str = "http://10.89.0.1:8000";

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Cluster {
    /// Connects, makes images of the programs and loads them.
    pub async fn connect(programs: &Programs) -> Result<Self> {
        match std::env::var("CLUSTER").as_deref() {
            Ok("current") => Self::current().await,
            Ok("" | "own") | Err(_) => Self::own(programs).await,
            Ok(other) => bail!("CLUSTER is {other:?}; write `current` for the kubeconfig's context, or leave it out"),
        }
    }

    async fn own(programs: &Programs) -> Result<Self> {
        let script = match std::env::var_os("CLUSTER_SCRIPT") {
            Some(path) => PathBuf::from(path),
            None => root().join("dev/cluster/cluster"),
        };
        let env = output(Command::new(&script).arg("env"))
            .await
            .context("the test cluster is not up: start it with `make cluster`, or set CLUSTER=current")?;
        let kubeconfig =
            PathBuf::from(exported(&env, "KUBECONFIG").context("`dev/cluster/cluster env` names no KUBECONFIG")?);
        let config = Config::from_custom_kubeconfig(
            Kubeconfig::read_from(&kubeconfig).context("cannot read the test cluster's kubeconfig")?,
            &KubeConfigOptions::default(),
        )
        .await?;
        let client = client(config)?;
        reachable(&client).await.context("the test cluster does not answer: start it with `make cluster`")?;
        let node = OwnNode { script: &script, client: &client };
        let image = node.load(&programs.rag, "rag-operator").await?;
        let fault_proxy_image = node.load(&programs.fault_proxy, "fault-proxy").await?;
        let audit = PathBuf::from(output(Command::new(&script).arg("audit")).await?.trim());
        Ok(Self {
            client,
            whose: Whose::Own { script },
            image,
            fault_proxy_image,
            gateway: OWN_GATEWAY.to_owned(),
            audit: Some(audit),
        })
    }

    async fn current() -> Result<Self> {
        let variable = |name: &str, what: &str| {
            std::env::var(name)
                .ok()
                .filter(|v| !v.is_empty())
                .with_context(|| format!("with CLUSTER=current set {name} to {what}"))
        };
        let image = variable("IMAGE", "an image of `rag` that the cluster can pull")?;
        let fault_proxy_image =
            variable("FAULT_PROXY_IMAGE", "an image of the example `fault-proxy` that the cluster can pull")?;
        let client = client(Config::infer().await.context("no kubeconfig and not in a cluster")?)?;
        reachable(&client).await.context("the cluster of the current kubeconfig context does not answer")?;
        let gateway = match std::env::var("GATEWAY_URL") {
            Ok(url) if !url.is_empty() => url,
            _ => gateway_of(&client).await?,
        };
        Ok(Self {
            client,
            whose: Whose::Current,
            image,
            fault_proxy_image,
            gateway: gateway.trim_end_matches('/').to_owned(),
            audit: None,
        })
    }

    /// `kubectl` for this cluster.
    pub fn kubectl(&self) -> Command {
        match &self.whose {
            Whose::Own { script } => {
                let mut command = Command::new(script);
                command.arg("kubectl");
                command
            }
            Whose::Current => Command::new("kubectl"),
        }
    }

    /// Ends a pod's containers without warning: SIGKILL on the own cluster, a forced deletion elsewhere.
    pub async fn kill_pod(&self, namespace: &str, pod: &str) -> Result<()> {
        match &self.whose {
            Whose::Own { script } => {
                output(Command::new(script).args(["kill-pod", namespace, pod])).await?;
            }
            Whose::Current => {
                let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
                pods.delete(pod, &DeleteParams::default().grace_period(0)).await?;
            }
        }
        Ok(())
    }

    /// How a person looks around: lines to paste.
    pub fn how_to_look(&self, namespace: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let kubectl = match self.whose {
            Whose::Own { .. } => "dev/cluster/cluster kubectl",
            Whose::Current => "kubectl",
        };
        lines.push(format!("{kubectl} -n {namespace} get rag -o wide"));
        lines.push(format!("{kubectl} -n {namespace} describe rel handbook"));
        lines.push(format!("{kubectl} -n {namespace} get httproute handbook -o yaml"));
        lines.push(format!("{kubectl} explain rel.spec.rollout"));
        lines
    }

    /// How a person removes it all.
    pub fn how_to_remove(&self, namespace: &str) -> String {
        match self.whose {
            Whose::Own { .. } => "make cluster-down".to_owned(),
            Whose::Current => {
                format!("kubectl delete ns {namespace} && kubectl delete -f dev/install -f crds")
            }
        }
    }
}

fn client(mut config: Config) -> Result<Client> {
    config.connect_timeout = Some(Duration::from_secs(5));
    // A little longer than the longest watch.
    config.read_timeout = Some(Duration::from_secs(300));
    Ok(Client::try_from(config)?)
}

/// The address in the status of the Gateway `public` in namespace `default`, with the port of its listener.
async fn gateway_of(client: &Client) -> Result<String> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
    let gateways: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind));
    let gateway = gateways.get("public").await.context(
        "the cluster has no Gateway `public` in namespace `default`: make one, as the examples attach to it",
    )?;
    let address = gateway.data["status"]["addresses"][0]["value"].as_str().filter(|a| !a.is_empty());
    let address = address.context("the Gateway `public` shows no address: set GATEWAY_URL to where it answers")?;
    let port = gateway.data["spec"]["listeners"][0]["port"].as_i64().unwrap_or(80);
    Ok(format!("http://{address}:{port}"))
}

async fn reachable(client: &Client) -> Result<()> {
    tokio::time::timeout(Duration::from_secs(10), client.apiserver_version()).await??;
    Ok(())
}

/// The one node of the own cluster, which takes images from archives.
struct OwnNode<'a> {
    script: &'a Path,
    client: &'a Client,
}

impl OwnNode<'_> {
    /// Makes an image of a program and gives it to the node. The tag is the digest of the program: another
    /// build is another image, and pods change with it.
    async fn load(&self, program: &Path, name: &str) -> Result<String> {
        let body = tokio::fs::read(program).await.with_context(|| {
            format!("{} is missing: build it with `cargo build --bin rag --examples`", program.display())
        })?;
        let digest = Sha256::digest(&body);
        let tag: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let image = format!("localhost/{name}:{tag}");
        if self.holds(&image).await? {
            return Ok(image);
        }
        let archive = program.with_file_name(format!("{name}.image.tar"));
        output(Command::new(self.script).arg("image").arg(program).arg(&image).arg(&archive)).await?;
        let loaded = output(Command::new(self.script).arg("load").arg(&archive)).await;
        tokio::fs::remove_file(&archive).await?;
        loaded?;
        Ok(image)
    }

    async fn holds(&self, image: &str) -> Result<bool> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        Ok(nodes.list(&ListParams::default()).await?.items.into_iter().any(|node| {
            let images = node.status.and_then(|s| s.images).unwrap_or_default();
            images.into_iter().flat_map(|i| i.names.unwrap_or_default()).any(|held| held == image)
        }))
    }
}

/// Runs a command to its end; its standard output.
pub async fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{:?}", command.as_std());
    let run = command.kill_on_drop(true).output();
    let done = tokio::time::timeout(Duration::from_secs(180), run)
        .await
        .with_context(|| format!("{shown} did not end within 180 s"))?
        .with_context(|| format!("{shown} cannot be started"))?;
    ensure!(done.status.success(), "{shown} failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The value of `export NAME=value` among lines of shell.
fn exported(env: &str, name: &str) -> Option<String> {
    env.lines().find_map(|line| {
        let value = line.trim().trim_start_matches("export ").strip_prefix(name)?.strip_prefix('=')?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    })
}
